"""Nothing lost: the file's change time, doubtful dates, what decoded it, problems, tombstones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added, not rebuilt: however large the table, this writes one line of the schema. NULL is
    # "unknown" for files that an older version read.
    op.add_column("images", sa.Column("ctime_ns", sa.BigInteger(), nullable=True))
    op.add_column("images", sa.Column("unsure_since_ns", sa.BigInteger(), nullable=True))
    op.add_column("images", sa.Column("decoder", sa.String(), nullable=True))
    op.create_table(
        "problems",
        sa.Column("folder_id", sa.Integer(), nullable=False),
        sa.Column("relative_path", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", "relative_path", name="pk_problems"),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.folder_id"], name="fk_problems_folder_id_folders"
        ),
    )
    op.create_table(
        "forgotten",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_forgotten"),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog only goes forward; the copy made before is the way back")
