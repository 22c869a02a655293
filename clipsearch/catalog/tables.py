"""The tables as typed classes: the one place that names columns. Statements are built from them;
the files themselves are made by the migrations, and a test holds the two equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    MetaData,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite can only change a constraint that has a name, so every one gets a predictable one.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class LibraryRow(Base):
    """Facts about the library as a whole: `uuid`, `created`, `model_id`, `index_recipe`."""

    __tablename__ = "library"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class ModelRow(Base):
    __tablename__ = "models"

    model_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    dimension: Mapped[int]
    preprocessing: Mapped[Mapping[str, Any]] = mapped_column(JSON)
    activation: Mapped[str]
    dtype: Mapped[str]
    bundle_path: Mapped[bytes | None]


class FolderRow(Base):
    """A root that was indexed: an absolute path, as bytes, because a name need not be text."""

    __tablename__ = "folders"

    folder_id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[bytes] = mapped_column(unique=True)


class ImageRow(Base):
    """A file below a folder. The reason stays with a missing file, so that it is unreadable again
    when it comes back.

    `ctime_ns` is NULL if an older version read the file. `unsure_since_ns` is set while a change
    could hide behind equal dates: since when the file has been seen with these. `decoder` is what
    could not decode it. `details` says which version read what a camera wrote (see
    `images/metadata.py`), NULL if none did.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("folder_id", "relative_path"),
        CheckConstraint("state IN ('present', 'missing', 'unreadable')", name="state"),
        CheckConstraint(
            "(state != 'present' OR reason IS NULL)"
            " AND (state != 'unreadable' OR reason IS NOT NULL)",
            name="reason",
        ),
        Index(None, "content_hash"),
        Index(None, "state"),
        # An id must never come back for another picture: an index file may still hold it.
        {"sqlite_autoincrement": True},
    )

    image_id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folders.folder_id"))
    relative_path: Mapped[bytes]
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    content_hash: Mapped[bytes | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    taken_at: Mapped[str | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    ctime_ns: Mapped[int | None] = mapped_column(BigInteger)
    unsure_since_ns: Mapped[int | None] = mapped_column(BigInteger)
    decoder: Mapped[str | None]
    format: Mapped[str | None]
    camera: Mapped[str | None]
    lens: Mapped[str | None]
    latitude: Mapped[float | None] = mapped_column(Float)
    longitude: Mapped[float | None] = mapped_column(Float)
    orientation: Mapped[int | None]
    zone: Mapped[str | None]
    details: Mapped[int | None]


class ProblemRow(Base):
    """What the last scan of its place could not use and is no image: a folder that cannot be read,
    a link that leads nowhere, a pipe, a file that went away."""

    __tablename__ = "problems"

    folder_id: Mapped[int] = mapped_column(ForeignKey("folders.folder_id"), primary_key=True)
    relative_path: Mapped[bytes] = mapped_column(primary_key=True)
    reason: Mapped[str]


class ForgottenRow(Base):
    """An image that was forgotten, and that the index file may still hold."""

    __tablename__ = "forgotten"

    # Not given by the database: it is the id that the image had.
    image_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class SavedQueryRow(Base):
    """A query that has a name, in the query language."""

    __tablename__ = "saved_queries"

    name: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    created: Mapped[str | None]


class VectorRow(Base):
    """A vector of an image. A new value is a new row: `vector_id` is a revision that only grows."""

    __tablename__ = "vectors"
    __table_args__ = (
        UniqueConstraint("image_id", "model_id"),
        # SQLite appends the row id, so this one index also answers "after vector_id N, in order".
        Index(None, "model_id"),
        {"sqlite_autoincrement": True},
    )

    vector_id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.image_id", ondelete="CASCADE"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.model_id"))
    vector: Mapped[bytes]  # float16, little-endian, dim values
    crc32: Mapped[int] = mapped_column(BigInteger)
