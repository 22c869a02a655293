"""What filters ask: the camera, the place and the kind of a picture; queries that have a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added, not rebuilt, as in 0002. Without any index: a filter looks at every row of a million
    # well within half a second, and an index of all this would cost every batch, and 73 MB.
    for name, kind in (
        ("format", sa.String()),
        ("camera", sa.String()),
        ("lens", sa.String()),
        ("latitude", sa.Float()),
        ("longitude", sa.Float()),
        ("orientation", sa.Integer()),
        ("zone", sa.String()),
        ("details", sa.Integer()),
    ):
        op.add_column("images", sa.Column(name, kind, nullable=True))
    op.create_table(
        "saved_queries",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_saved_queries"),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog only goes forward; the copy made before is the way back")
