import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astrosage.train.batches import flatten


@given(st.lists(st.lists(st.integers(1, 6), max_size=4), min_size=1, max_size=4))
def test_documents_come_out_whole_in_order_and_without_padding(rows: list[list[int]]) -> None:
    length = 24
    tokens = np.zeros((len(rows), length), np.int32)
    segments, mask = (
        np.zeros((len(rows), length), np.int32),
        np.zeros((len(rows), length), np.uint8),
    )
    documents, counter = [], 100
    for r, sizes in enumerate(rows):
        at = 0
        for number, size in enumerate(sizes, start=1):
            ids = list(range(counter, counter + size))
            counter += size
            documents.append(ids)
            tokens[r, at : at + size], segments[r, at : at + size] = ids, number
            mask[r, at + 1 : at + size] = 1
            at += size
    batch = flatten(tokens, segments, mask)
    assert batch.lengths == [len(d) for d in documents]
    assert batch.tokens[0].tolist() == [t for d in documents for t in d]
    assert batch.positions[0].tolist() == [i for d in documents for i in range(len(d))]
    # Each learnt token is predicted from the one before it, in the same document.
    assert batch.targets.tolist() == [t for d in documents for t in d[1:]]
    before = batch.tokens[0][batch.learnt].tolist()
    assert before == [t for d in documents for t in d[:-1]]
