"""The order of blocks and reruns."""

from bakeoff.rounds.schedule import plan_blocks, rerun


def test_the_order_alternates_and_every_block_has_its_own_seed() -> None:
    blocks = plan_blocks(("go", "rust"), 4, seed=7)
    assert [block.order for block in blocks] == [("go", "rust"), ("rust", "go")] * 2
    assert [block.number for block in blocks] == [1, 2, 3, 4]
    assert len({block.seed for block in blocks}) == 4


def test_the_seed_decides() -> None:
    assert plan_blocks(("a", "b"), 3, seed=1) == plan_blocks(("a", "b"), 3, seed=1)
    assert plan_blocks(("a", "b"), 3, seed=1) != plan_blocks(("a", "b"), 3, seed=2)


def test_a_rerun_keeps_order_and_seed_under_a_new_number() -> None:
    blocks = plan_blocks(("a", "b"), 3, seed=1)
    again = rerun(blocks[1], blocks)
    assert again.rerun_of == 2
    assert again.number == 4
    assert (again.order, again.seed) == (blocks[1].order, blocks[1].seed)
    once_more = rerun(again, [*blocks, again])
    assert (once_more.rerun_of, once_more.number) == (2, 5)
