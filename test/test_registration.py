# SPDX-License-Identifier: Apache-2.0
"""Laws of the vote table: exact while it has room, bounded when it has not; and votes of two levels at once."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mini_scene import cpu_seconds, votes_of
from plain_registration import accumulated_plainly
from splat_scene import POSE, make_camera, make_gaussians
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.field import joint_votes as joint
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.registry import part_class
from ccl_lgs_ros.structures import NONE, Votes, VoteTable


def lifter(slots: int, min_confidence: float = 0.3, min_labelled: float = 0.2) -> RegistrationLifter:
    return RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)


def votes_from(dense: Tensor) -> Votes:
    """The votes of one view given as [N, T] weights, 0 for none; all that is seen is labelled."""
    gaussian, label = torch.nonzero(dense, as_tuple=True)
    return Votes(gaussian=gaussian, label=label, weight=dense[gaussian, label], visibility=dense.sum(dim=1))


def random_views(count: int, num_gaussians: int, num_tracks: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_gaussians, num_tracks)
    return [
        torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.2) for _ in range(count)
    ]


def accumulated(views: list[Tensor], slots: int) -> VoteTable:
    table = VoteTable.empty(len(views[0]), slots)
    for view in views:
        table = lifter(slots).accumulate(table, votes_from(view))
    return table


def dense_from(table: VoteTable, num_tracks: int) -> Tensor:
    dense = torch.zeros(len(table.lost), num_tracks)
    row, slot = torch.nonzero(table.track != NONE, as_tuple=True)
    dense[row, table.track[row, slot].long()] = table.weight[row, slot]
    return dense


def test_two_views_of_three_gaussians_add_up_by_hand():
    table = VoteTable.empty(3, 2)
    table = lifter(2).accumulate(table, votes_from(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 0.0]])))
    table = lifter(2).accumulate(table, votes_from(torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 0.125], [0.0, 0.0, 0.0]])))
    assert table.track.tolist() == [[1, 0], [0, 1], [NONE, NONE]]
    assert table.weight.tolist() == [[3.0, 1.0], [0.375, 0.125], [0.0, 0.0]]
    assert table.lost.tolist() == [0.0, 0.125, 0.0]
    assert table.visibility.tolist() == [4.0, 0.875, 0.0]


def test_a_table_with_room_for_all_tracks_is_exact():
    views = random_views(6, 50, 8)
    table = accumulated(views, slots=8)
    torch.testing.assert_close(dense_from(table, 8), sum(views))
    assert not table.lost.any()


def test_every_true_sum_lies_within_the_weight_and_what_was_lost():
    views = random_views(30, 60, 20)
    table, true = accumulated(views, slots=3), sum(views)
    held = dense_from(table, 20)
    assert table.lost.any()
    assert (held <= true + 1e-4).all()
    assert (true <= held + table.lost[:, None] + 1e-4).all()


@settings(deadline=None, max_examples=60)
@given(
    slots=st.integers(1, 6),
    num_tracks=st.integers(1, 24),
    num_views=st.integers(1, 12),
    share=st.floats(0.05, 1.0),
    grid=st.sampled_from([0, 1, 4]),  # weights in so many steps: ties; 0 for any weight
    seed=st.integers(0, 2**31),
)
def test_the_table_is_the_plain_one_and_bounds_the_dense_one(slots, num_tracks, num_views, share, grid, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (20, num_tracks)
    views = []
    for _ in range(num_views):
        weight = torch.rand(shape, generator=generator) + 1e-3
        weight = (weight * grid).ceil() if grid else weight
        views.append(weight * (torch.rand(shape, generator=generator) < share))
    table = plain = VoteTable.empty(20, slots)
    for view in views:
        table, plain = lifter(slots).accumulate(table, votes_from(view)), accumulated_plainly(plain, votes_from(view))
        for field in fields(table):
            assert torch.equal(getattr(table, field.name), getattr(plain, field.name)), field.name
    true, held = torch.stack(views).double().sum(dim=0), dense_from(table, num_tracks).double()
    total = true.sum(dim=1)
    slack = 1e-5 * (1 + total[:, None])
    assert (held <= true + slack).all()
    assert (true <= held + table.lost[:, None] + slack).all()
    assert (table.lost * (slots + 1) <= total - held.sum(dim=1) + slack[:, 0]).all()
    is_frequent = true * (slots + 1) > total[:, None] + slack
    assert (held[is_frequent] > 0).all()
    is_ahead = table.weight[:, 0] - (table.weight[:, 1] if slots > 1 else 0.0) > table.lost + slack[:, 0]
    assert (table.track[is_ahead, 0] == true[is_ahead].argmax(dim=1)).all()


def test_a_thing_that_takes_over_late_wins_though_the_row_was_full():
    views = [torch.eye(4)[[track]] * 5.0 for track in (0, 1)] + [torch.eye(4)[[3]]] * 40
    assert accumulated(views, slots=2).track[0, 0] == 3


def test_a_track_that_holds_most_votes_of_a_gaussian_is_never_lost():
    generator = torch.Generator().manual_seed(1)
    views = []
    for _ in range(40):
        view = torch.zeros(30, 50)
        view[torch.arange(30), torch.randint(1, 50, (30,), generator=generator)] = 1.0
        view[:, 0] = 1.5
        views.append(view)
    assert (accumulated(views, slots=4).track[:, 0] == 0).all()


def test_rows_are_heaviest_first_and_filled_from_the_left():
    table = accumulated(random_views(10, 60, 20), slots=5)
    assert (table.weight.diff(dim=1) <= 0).all()
    assert ((table.track == NONE) == (table.weight == 0)).all()


def test_the_order_of_views_does_not_matter_while_there_is_room():
    views = random_views(6, 40, 8)
    forth, back = accumulated(views, slots=8), accumulated(views[::-1], slots=8)
    torch.testing.assert_close(dense_from(forth, 8), dense_from(back, 8))


def test_gaussians_without_votes_keep_their_rows_and_the_given_table_is_not_written_to():
    before = accumulated(random_views(3, 10, 5), slots=3)
    copies = [before.track.clone(), before.weight.clone(), before.lost.clone(), before.visibility.clone()]
    view = torch.zeros(10, 5)
    view[4, 2] = 1.0
    after = lifter(3).accumulate(before, votes_from(view))
    others = torch.arange(10) != 4
    assert torch.equal(after.track[others], before.track[others])
    assert torch.equal(after.weight[others], before.weight[others])
    for old, now in zip(copies, [before.track, before.weight, before.lost, before.visibility], strict=True):
        assert torch.equal(old, now)


def test_a_view_that_shows_nothing_changes_nothing():
    table = accumulated(random_views(2, 10, 5), slots=3)
    after = lifter(3).accumulate(table, votes_of(torch.full((10,), NONE), torch.zeros(10, dtype=torch.bool)))
    assert torch.equal(after.track, table.track)
    assert torch.equal(after.visibility, table.visibility)


def test_confidence_is_the_share_of_the_winner():
    table = accumulated([torch.tensor([[3.0, 1.0], [1.0, 0.0], [0.0, 0.0]])], slots=2)
    track, confidence = lifter(2).resolve(table)
    assert track.dtype == torch.int32 and confidence.dtype == torch.uint8
    assert track.tolist() == [0, 0, NONE]
    assert confidence.tolist() == [191, 255, 0]


def test_labels_of_one_code_win_together_and_the_heaviest_of_them_answers() -> None:
    table = accumulated([torch.tensor([[2.0, 1.5, 3.0, 0.0], [0.0, 1.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0]])], slots=4)
    label, confidence = lifter(4).resolve_coded(table, torch.tensor([5, 5, 3, 5]))
    assert label.tolist() == [0, 2, NONE]
    assert confidence.tolist() == [round(255 * 3.5 / 6.5), round(255 * 4 / 5), 0]


def test_an_undecided_gaussian_has_no_track():
    table = accumulated([torch.ones(1, 4)], slots=4)
    assert lifter(4, min_confidence=0.3).resolve(table)[0].tolist() == [NONE]
    assert lifter(4, min_confidence=0.2).resolve(table)[0].tolist() != [NONE]


@pytest.mark.parametrize(("unlabelled_views", "expected"), [(3, 0), (5, NONE)])
def test_a_gaussian_that_most_views_leave_unlabelled_has_no_track(unlabelled_views, expected):
    table = lifter(2).accumulate(VoteTable.empty(1, 2), votes_of(torch.tensor([0])))
    for _ in range(unlabelled_views):
        table = lifter(2).accumulate(table, votes_of(torch.tensor([NONE])))
    assert lifter(2, min_labelled=0.2).resolve(table)[0].tolist() == [expected]


def test_100_000_gaussians_take_300_000_votes_well_within_a_second():
    generator = torch.Generator().manual_seed(0)
    table = VoteTable.empty(100_000, 6)
    keys = torch.randperm(100_000 * 40, generator=generator)[:300_000].sort().values
    votes = Votes(
        gaussian=keys // 40,
        label=keys % 40,
        weight=torch.rand(300_000, generator=generator) + 0.01,
        visibility=torch.ones(100_000),
    )
    shifted = Votes(gaussian=votes.gaussian, label=votes.label + 7, weight=votes.weight, visibility=votes.visibility)
    table = lifter(6).accumulate(table, votes)
    assert cpu_seconds(lambda: lifter(6).accumulate(table, shifted)) < 0.7


def some_labels(camera: Camera, counts: tuple[int, ...], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (camera.height // 4 + 1, camera.width // 4 + 1)
    maps = [torch.randint(-1, count, shape, dtype=torch.int32, generator=generator) for count in counts]
    grown = [labels.repeat_interleave(4, 0).repeat_interleave(4, 1) for labels in maps]
    return {str(i): labels[: camera.height, : camera.width].contiguous() for i, labels in enumerate(grown)}


def assert_votes_close(votes: Votes, others: Votes) -> None:
    assert torch.equal(votes.gaussian, others.gaussian) and torch.equal(votes.label, others.label)
    assert votes.weight.dtype == torch.float32
    torch.testing.assert_close(votes.weight, others.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(votes.visibility, others.visibility)


@pytest.mark.parametrize("name", ["numba_cpu", "torch_reference"])
@pytest.mark.parametrize("counts", [(7,), (1, 1), (9, 4), (4, 9), (300, 200), (5, 4, 3)])
def test_levels_voted_at_once_have_the_votes_of_each_alone(name: str, counts: tuple[int, ...]) -> None:
    rasterizer, gaussians, camera = part_class("rasterizer", name)(), make_gaussians(), make_camera()
    labels = some_labels(camera, counts)
    found = joint_votes(rasterizer, gaussians, camera, POSE, labels)
    assert list(found) == list(labels)
    for level, votes in found.items():
        alone = rasterizer.vote(gaussians, camera, POSE, labels[level])
        assert len(alone.label)
        assert_votes_close(votes, alone)


def test_levels_without_any_label_still_say_what_was_seen() -> None:
    rasterizer, gaussians, camera = part_class("rasterizer", "numba_cpu")(), make_gaussians(), make_camera()
    nothing = torch.full((camera.height, camera.width), NONE, dtype=torch.int32)
    for labels in ({"a": nothing, "b": nothing}, {"a": nothing, "b": some_labels(camera, (3,))["0"]}):
        for level, votes in joint_votes(rasterizer, gaussians, camera, POSE, labels).items():
            assert_votes_close(votes, rasterizer.vote(gaussians, camera, POSE, labels[level]))


def test_labels_of_any_height_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rasterizer, gaussians, camera = part_class("rasterizer", "numba_cpu")(), make_gaussians(), make_camera()
    labels = some_labels(camera, (9, 4))
    expected = joint_votes(rasterizer, gaussians, camera, POSE, labels)
    monkeypatch.setattr(joint, "MAX_SPAN", 3)
    for level, votes in joint_votes(rasterizer, gaussians, camera, POSE, labels).items():
        assert_votes_close(votes, expected[level])
    high = torch.where(labels["0"] == NONE, NONE, labels["0"] + 2_000_000_000)
    found = joint_votes(rasterizer, gaussians, camera, POSE, {"0": high, "1": labels["1"]})
    assert torch.equal(found["0"].label, expected["0"].label + 2_000_000_000)
    assert_votes_close(found["1"], expected["1"])


def test_what_a_view_hardly_shows_has_no_vote_in_it() -> None:
    votes = Votes(
        gaussian=torch.tensor([0, 1]),
        label=torch.tensor([3, 3]),
        weight=torch.tensor([2.0, 0.4]),
        visibility=torch.tensor([2.0, 0.4]),
    )
    gated = RegistrationLifter(slots=2, min_confidence=0.5, min_labelled=0.4, min_visibility=0.5)
    table = gated.accumulate(VoteTable.empty(2, 2), votes)
    assert table.visibility.tolist() == [2.0, 0.0]
    assert gated.resolve(table)[0].tolist() == [3, -1]
    free = RegistrationLifter(slots=2, min_confidence=0.5, min_labelled=0.4)
    assert free.resolve(free.accumulate(VoteTable.empty(2, 2), votes))[0].tolist() == [3, 3]
