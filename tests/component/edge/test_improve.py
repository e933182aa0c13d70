"""`/improve`: stores what callers hand in, only where the operator allows it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from matteworks_edge.app import EdgeDependencies
from tests.support.clock import ManualClock
from tests.support.edge_harness import EdgeStack, edge_stack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def hand_in(edge: EdgeStack, **fields: str) -> tuple[int, dict[str, object]]:
    answer = await edge.http.post(
        "/v1.0/improve",
        files={"image_file": ("x.jpg", picture())},
        data=fields,
        headers={"X-Api-Key": edge.key},
    )
    return answer.status_code, answer.json()


async def test_a_submission_is_stored_with_its_facts(tmp_path: Path) -> None:
    async with edge_stack(collect_submissions=True, object_store_url=f"file://{tmp_path}/box") as edge:
        status, document = await hand_in(edge, tag="dogs", image_filename="../../a\u202e.jpg")
        assert status == 200
        submission_id = str(document["id"])
        assert str(uuid.UUID(submission_id)) == submission_id
        assert edge.accounts.calls == ["Authenticate"]
    facts, content = stored(tmp_path, submission_id)
    assert content == picture()
    assert (facts["tag"], facts["filename"]) == ("dogs", "../../a\u202e.jpg")
    assert (facts["width_px"], facts["height_px"]) == (40, 30)


def stored(directory: Path, submission_id: str) -> tuple[dict[str, object], bytes]:
    (facts_file,) = directory.rglob(f"{submission_id}.json")
    (picture_file,) = directory.rglob(f"{submission_id}.jpeg")
    return json.loads(facts_file.read_text()), picture_file.read_bytes()


async def test_without_consent_the_picture_is_refused(guarded: EdgeStack) -> None:
    status, document = await hand_in(guarded)
    assert status == 403
    assert document["errors"][0]["code"] == "consent_required"  # type: ignore[index]


async def test_the_day_has_a_limit_and_the_next_day_a_new_one() -> None:
    clock = ManualClock()
    async with edge_stack(
        EdgeDependencies(clock=clock),
        collect_submissions=True,
        object_store_url="memory:///",
        submissions_a_day=2,
    ) as edge:
        assert [(await hand_in(edge))[0] for _ in range(3)] == [200, 200, 429]
        edge.key = edge.accounts.new_key()
        assert (await hand_in(edge))[0] == 200
        clock.advance(86_400)
        assert (await hand_in(edge))[0] == 200


async def test_what_is_no_picture_is_refused(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        "/v1.0/improve", data={"image_file_b64": "aGVsbG8="}, headers={"X-Api-Key": edge.key}
    )
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "invalid_file_type")


async def test_control_characters_in_a_tag_are_refused(edge: EdgeStack) -> None:
    status, document = await hand_in(edge, tag="a\r\nX-Evil: 1")
    assert status == 400
    assert document["errors"][0]["title"] == "Invalid tag parameter given"  # type: ignore[index]
