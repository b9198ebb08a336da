"""The rank of given products among all candidates, without making the list: what a replay asks fifty thousand times."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.products import chain
from tastemaker.kernels.ranking.topk import (
    LOWEST,
    PANEL,
    ROW,
    STEP,
    count_at_least,
    room_for_scores,
    score_panel,
    score_panel_once,
)
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["place_targets"]


@kernel()
def place_targets(
    low_block: int,
    high_block: int,
    chunk: int,
    queries: Floats,
    panels: Floats,
    biases: Floats,
    bias_of: Rows,
    excluded_offsets: Offsets,
    excluded: Rows,
    extra_offsets: Offsets,
    extra_rows: Rows,
    extra_scores: Floats,
    moved_offsets: Offsets,
    moved_rows: Rows,
    moved_places: Rows,
    moved_vectors: Floats,
    target_offsets: Offsets,
    targets: Rows,
    ranks: Rows,
) -> None:
    """Set the rank of each target of each query of some blocks: 1 + the other candidates that score as high or higher.

    Block b holds the queries ``b · chunk … (b + 1) · chunk - 1``; chunk is a multiple of 4. Query q starts each candidate from
    ``biases[bias_of[q], C]`` and is scored to the bit as `rank` does. The candidates ``moved_rows`` of a query have other vectors
    than the panels say: ``moved_vectors[moved_places, D']``. Left out, extra, moved and targets are ragged by query; the first
    three ascend within a query, and offsets of length 1 mean none. A target with a score of minus infinity has rank 0.
    """
    count = biases.shape[1]
    exclude = excluded_offsets.shape[0] > 1
    add = extra_offsets.shape[0] > 1
    move = moved_offsets.shape[0] > 1
    held = np.empty((chunk, panels.shape[0] * PANEL), np.float32)
    group = np.zeros((STEP, queries.shape[1]), np.float32)
    scores = room_for_scores(panels)
    for block in range(low_block, high_block):
        low = block * chunk
        size = min(chunk, queries.shape[0] - low)
        for panel in range(panels.shape[0]):
            first = panel * PANEL
            width = min(PANEL, count - first)
            for start in range(0, size, STEP):
                members = min(STEP, size - start)
                group[:members] = queries[low + start : low + start + members]
                group[members:] = 0.0
                for i in range(members):
                    mine = scores[i * ROW : i * ROW + PANEL]
                    mine[:width] = biases[bias_of[low + start + i], first : first + width]
                    mine[width:] = LOWEST
                if members <= 2:
                    for i in range(members):
                        score_panel_once(group[i], panels[panel], scores[i * ROW : i * ROW + PANEL])
                else:
                    score_panel(group, panels[panel], scores)
                for i in range(members):
                    held[start + i, first : first + PANEL] = scores[i * ROW : i * ROW + PANEL]
        for i in range(size):
            q = low + i
            mine = held[i]
            if move:
                for place in range(moved_offsets[q], moved_offsets[q + 1]):
                    row = moved_rows[place]
                    mine[row] = chain(biases[bias_of[q], row], queries[q], moved_vectors[moved_places[place]])
            if add:
                for place in range(extra_offsets[q], extra_offsets[q + 1]):
                    mine[extra_rows[place]] += extra_scores[place]
            if exclude:
                for place in range(excluded_offsets[q], excluded_offsets[q + 1]):
                    mine[excluded[place]] = LOWEST
            for place in range(target_offsets[q], target_offsets[q + 1]):
                score = mine[targets[place]]
                ranks[place] = 0 if score == LOWEST else count_at_least(mine, score)
