"""Prompts that ask for anything and everything: what scores a picture gets when nobody means it.

Data only. Everyday things of every kind, so that their scores tell how a picture takes to words at
all; another list is another cutoff.
"""

from __future__ import annotations

_WORDS = """
a person, a man, a woman, a child, a baby, a family, a crowd of people, a portrait, a smiling face,
a hand, an eye, a foot, a couple, a wedding, a birthday party, a concert, a sports match, a dancer,
a musician, a runner, a swimmer, a skier, a soldier, a doctor, a cook, a teacher, a worker, a king,
a dog, a cat, a horse, a cow, a sheep, a pig, a goat, a rabbit, a mouse, a squirrel, a bear, a wolf,
a fox, a lion, a tiger, an elephant, a giraffe, a zebra, a monkey, a deer, a camel, a kangaroo,
a bird, a duck, an owl, an eagle, a parrot, a penguin, a chicken, a fish, a shark, a whale,
a dolphin, an octopus, a crab, a turtle, a snake, a frog, a lizard, a butterfly, a bee, a spider,
an ant, a snail, a dragon, a dinosaur, a ghost, a robot, a monster, a skull, an angel,
a flower, a rose, a sunflower, a tree, a palm tree, a forest, a leaf, grass, a cactus, a mushroom,
a garden, a field, a mountain, a volcano, a desert, a beach, the sea, a wave, a lake, a river,
a waterfall, an island, a cave, a rock, the sky, a cloud, the sun, a sunset, the moon, a star,
a rainbow, rain, snow, ice, lightning, fog, a storm, fire, smoke, fireworks, the night,
a house, a church, a castle, a tower, a bridge, a skyscraper, a city, a village, a street, a road,
a railway, a station, an airport, a harbour, a school, a hospital, a shop, a market, a factory,
a farm, a stadium, a museum, a statue, a fountain, a tent, a ruin, a wall, a door, a window,
a staircase, a roof, a kitchen, a bedroom, a bathroom, an office, a restaurant, a library,
a car, a bus, a truck, a taxi, a police car, an ambulance, a tractor, a motorcycle, a bicycle,
a train, a tram, an airplane, a helicopter, a rocket, a balloon, a boat, a ship, a sailboat,
a wheel, a traffic light, a road sign, a flag, an anchor, a parachute,
an apple, a banana, an orange, a lemon, grapes, a strawberry, a cherry, a pear, a peach,
a pineapple, a watermelon, a tomato, a potato, a carrot, an onion, a pepper, corn, broccoli, beans,
bread, cheese, an egg, meat, a sausage, a hamburger, a pizza, a sandwich, soup, a salad, noodles,
rice, sushi, a cake, a cookie, chocolate, ice cream, candy, a cup of coffee, tea, a glass of wine,
beer, milk, a bottle, a cup, a bowl, a plate, a fork, a knife, a spoon, a pot,
a chair, a table, a sofa, a bed, a lamp, a candle, a clock, a mirror, a carpet, a vase, a basket,
a box, a bag, a suitcase, a backpack, an umbrella, a hat, a crown, glasses, a shirt, a dress,
trousers, a coat, a scarf, gloves, socks, a shoe, a boot, a tie, a ring, a necklace, a wristwatch,
a book, a newspaper, a letter, an envelope, a map, a painting, a drawing, a photograph, a poster,
a page of text, a screenshot, a diagram, a chart, a logo, a number, a calendar, a pencil, a pen,
a paintbrush, scissors, a hammer, a saw, a screwdriver, a nail, a key, a lock, a rope, a chain,
a ladder, a bucket, a broom, a magnet, a telescope, a microscope, a computer, a keyboard,
a telephone, a camera, a television, a radio, a loudspeaker, a battery, a light bulb, a machine,
a guitar, a piano, a violin, a trumpet, a drum, a ball, a football, a tennis racket, a skateboard,
a surfboard, a kite, a toy, a doll, a teddy bear, dice, playing cards, a chess board, a medal,
a trophy, a gift, a christmas tree, money, a coin, a jewel, a heart, a cross, an arrow, a circle,
a pattern of stripes, dots, a plain background, a red thing, a blue thing, a green thing,
a yellow thing, something black, something white, a blurry picture, a close-up, a view from above
"""
NULL_PROMPTS = tuple(" ".join(_WORDS.split()).split(", "))
