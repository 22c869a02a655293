"""The first catalog: folders, images, models and their vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# op.f() where the naming convention of the tables would be applied to the name once more.


def upgrade() -> None:
    op.execute("PRAGMA application_id = 0x636C6970")  # "clip": tells our files from others
    create_library()
    create_images()
    create_vectors()


def create_library() -> None:
    op.create_table(
        "library",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_library"),
    )
    op.create_table(
        "models",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("preprocessing", sa.JSON(), nullable=False),
        sa.Column("activation", sa.String(), nullable=False),
        sa.Column("dtype", sa.String(), nullable=False),
        sa.Column("bundle_path", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("model_id", name="pk_models"),
    )
    op.create_table(
        "folders",
        sa.Column("folder_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", name="pk_folders"),
        sa.UniqueConstraint("path", name="uq_folders_path"),
    )


def create_images() -> None:
    op.create_table(
        "images",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("folder_id", sa.Integer(), nullable=False),
        sa.Column("relative_path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("taken_at", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("image_id", name="pk_images"),
        sa.UniqueConstraint("folder_id", "relative_path", name="uq_images_folder_id_relative_path"),
        sa.CheckConstraint(
            "state IN ('present', 'missing', 'unreadable')", name=op.f("ck_images_state")
        ),
        sa.CheckConstraint(
            "(state != 'present' OR reason IS NULL)"
            " AND (state != 'unreadable' OR reason IS NOT NULL)",
            name=op.f("ck_images_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.folder_id"], name="fk_images_folder_id_folders"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_content_hash", "images", ["content_hash"])
    op.create_index("ix_images_state", "images", ["state"])


def create_vectors() -> None:
    op.create_table(
        "vectors",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vector_id", name="pk_vectors"),
        sa.UniqueConstraint("image_id", "model_id", name="uq_vectors_image_id_model_id"),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["images.image_id"],
            name="fk_vectors_image_id_images",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.model_id"], name="fk_vectors_model_id_models"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_vectors_model_id", "vectors", ["model_id"])


def downgrade() -> None:
    raise NotImplementedError("a catalog only goes forward; the copy made before is the way back")
