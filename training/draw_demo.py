"""Draw data/demo: pictures from a stream that training never uses, and captions.json.

`python -m training.draw_demo`. File names are shuffled numbers, so that they give no answer away.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypedDict

import numpy as np

from training.captions import caption
from training.concepts import Concept, load_concepts
from training.glyphs import draw_sprites
from training.scenes import Painter, Scene, Stream, generator

FOLDER = Path("data/demo")
PICTURES = 400
SIZE_PX = 320
QUALITY = 84
LAYOUTS = (0.42, 0.12, 0.40, 0.06)
# Plain words for things that most people would think of asking for, and that are not drawn almost
# alike. The rest of what mini was taught is in training/VOCABULARY.md.
NAMES = """
monkey, gorilla, dog, wolf, fox, raccoon, cat, lion, tiger, leopard, moose, horse, unicorn,
zebra, deer, cow, pig, goat, camel, llama, giraffe, elephant, rhinoceros, hippopotamus, mouse,
rabbit, chipmunk, hedgehog, bat, bear, koala, panda, sloth, kangaroo, turkey, rooster, bird,
penguin, owl, flamingo, peacock, parrot, duck, frog, crocodile, turtle, snake, whale, dolphin,
shark, octopus, jellyfish, snail, butterfly, honeybee, spider, rose, sunflower, tulip, cactus,
mushroom, palm tree, evergreen tree, grapes, watermelon, lemon, banana, pineapple, pear,
cherries, strawberry, red apple, tomato, coconut, avocado, eggplant, carrot, broccoli, garlic,
bread, croissant, pretzel, waffle, bacon, hamburger, pizza, sandwich, taco, hot dog, popcorn,
egg, doughnut, cookie, cupcake, birthday cake, ice cream, lollipop, teapot, beer mug, wine
glass, locomotive, bus, ambulance, fire engine, police car, taxi, automobile, tractor,
motorcycle, bicycle, anchor, sailboat, speedboat, ship, airplane, helicopter, rocket, flying
saucer, basketball, tennis, soccer ball, baseball, skateboard, boxing glove, sunglasses,
necktie, jeans, scarf, socks, dress, backpack, crown, top hat, ring, saxophone, accordion,
guitar, trumpet, violin, drum, snowman, umbrella, balloon, wrapped gift, christmas tree, candle,
light bulb, camera, television, telephone, key, hammer, scissors, magnet, telescope, microscope,
clown face, ghost, robot, alien, astronaut, firefighter, police officer, farmer, ninja,
princess, fire, rainbow, house, castle
"""


class Shown(TypedDict):
    """One kind of thing in a picture; `colour` is None where it has its own."""

    name: str
    count: int
    colour: str | None


class Entry(TypedDict):
    """What captions.json says of one picture."""

    caption: str
    things: list[Shown]


def demo_concepts(concepts: list[Concept]) -> list[int]:
    """The numbers of the NAMES. Raises ValueError for a name that mini was not taught."""
    numbers = {concept.name: at for at, concept in enumerate(concepts)}
    names = " ".join(NAMES.split()).split(", ")
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise ValueError(f"mini was not taught: {', '.join(unknown)}")
    return [numbers[name] for name in names]


def entry(scene: Scene, concepts: list[Concept], seed: int, number: int) -> Entry:
    """The entry of picture `number`."""
    random = np.random.default_rng([seed, number])
    return {
        "caption": caption(scene, concepts, random, aliases=False),
        "things": [
            {"name": concepts[thing.concept].name, "count": thing.count, "colour": thing.tint}
            for thing in scene.things
        ],
    }


def draw_demo(folder: Path, seed: int) -> None:
    """Write the pictures and captions.json; the same seed writes the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    concepts = load_concepts()
    painter = Painter(draw_sprites(concepts), demo_concepts(concepts))
    shuffled = np.random.default_rng(seed).permutation(PICTURES) + 1
    names = [f"{number:04d}.jpg" for number in shuffled]
    entries: dict[str, Entry] = {}
    for number, name in enumerate(names):
        random = generator(seed, Stream.DEMO, number)
        scene, picture = painter.draw(random, SIZE_PX, held_out=True, layouts=LAYOUTS)
        picture.save(folder / name, "JPEG", quality=QUALITY, optimize=True)
        entries[name] = entry(scene, concepts, seed, number)
    shown = sorted({thing["name"] for item in entries.values() for thing in item["things"]})
    document = {"seed": seed, "concepts": shown, "pictures": dict(sorted(entries.items()))}
    (folder / "captions.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Draw the demo where the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=404)
    options = parser.parse_args()
    draw_demo(options.folder, options.seed)


if __name__ == "__main__":
    main()
