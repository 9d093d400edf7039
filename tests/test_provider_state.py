"""Payments at a provider: which state follows which, and what may be a reference."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import payment_state, provider_state
from billing.provider_state import PAYMENTS, Told, follow
from billing.providers import Asked, check_reference, choosing, looks_like_card
from billing.providers.offline import Offline
from csms.config import Settings
from csms.registry import Refusal

TOLD = st.builds(
    Told,
    st.just("pi_1"),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.none() | st.just("why"),
)


@given(st.lists(TOLD, max_size=6))
def test_no_order_of_answers_makes_a_finished_payment_unfinished(answers: list[Told]) -> None:
    state = "requested"
    for told in answers:
        was_finished = state not in provider_state.UNFINISHED
        for after in follow(state, told):
            assert after in {*PAYMENTS.values()}
            state = after
        assert not (was_finished and state in provider_state.UNFINISHED)


def test_a_time_out_is_not_a_failure() -> None:
    assert PAYMENTS["requested", "time out"] == "unknown"
    assert PAYMENTS["authorised", "time out"] == "unknown"
    assert follow("unknown", Told("pi_1", False, False, 500, 0)) == ("captured",)
    assert follow("captured", Told("pi_1", True, False, 0, 0)) == (), "an old answer"


@pytest.mark.parametrize(
    "card",
    ["4242424242424242", "4242 4242 4242 4242", "tok_5555-5555-5555-4444", "x378282246310005"],
)
def test_the_number_of_a_card_is_refused_and_not_repeated(card: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_reference(card)
    assert card not in str(refused.value)


def test_references_of_a_provider_are_taken() -> None:
    for reference in ("pm_1MqLiJLkdIwHu7ixUEgbFdYF", "cus_9s6XKzkNRiz8i3"):
        assert check_reference(reference) == reference
    assert not looks_like_card("pm_4242424242424241")
    for wrong in ("", "pm", "pm 1", "pm_\n", "é" * 10, "p" * 101):
        with pytest.raises(Refusal):
            check_reference(wrong)


async def test_without_a_provider_every_call_says_what_to_do() -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC)
    offline, asked = Offline(), Asked("t2p-1-1", 100, "cus_1", "pm_1", now)
    for call in (
        offline.authorise(asked),
        offline.capture(asked, 1),
        offline.void(asked),
        offline.refund(asked, 1, 1),
        offline.fetch(asked, now),
    ):
        with pytest.raises(Refusal, match=r"transfer.*direct debit"):
            await call


async def test_a_live_key_needs_a_setting_of_its_own(settings: Settings) -> None:
    live = replace(settings, stripe_key="sk_live_x", stripe_live=True)
    async with choosing.provider(live) as chosen:
        assert chosen.name == "stripe"
    for wrong in (replace(live, stripe_live=False), replace(live, billing_simulated=True)):
        with pytest.raises(ValueError, match="live key"):
            async with choosing.provider(wrong):
                pass
    async with choosing.provider(settings) as chosen:
        assert chosen.name == "offline"


def test_the_diagram_is_printed_from_the_table() -> None:
    told = payment_state.diagram(PAYMENTS, "requested")
    assert told.startswith("stateDiagram-v2\n    [*] --> requested\n")
    assert "    unknown --> captured: capture" in told.splitlines()
