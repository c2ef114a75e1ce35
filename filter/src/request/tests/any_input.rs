//! Inputs of any bytes.

use super::*;

proptest::proptest! {
    #[test]
    fn no_answer_and_no_peer_traps(
        status in "[0-9]{0,3}",
        body in proptest::collection::vec(0_u8..=255, 0..200),
        peer in proptest::collection::vec(0_u8..=255, 0..40),
        header in proptest::collection::vec(0_u8..=255, 0..40),
    ) {
        let mut stage = Stage::new(HOLD);
        stage.request("8.8.8.8");
        let token = stage.asked();
        stage.answer(token, &status, &body);
        for name in ["accept", "content-type", ":path", "x-request-id", "upgrade"] {
            stage.host.put_header(name, &header);
        }
        stage.load(&[("0.0.0.0/1", Rank::OperatorBan, BAN, None)], &[], 1, true);
        stage.host.set_property(Property::SourceAddress, &peer);
        stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(2)));
        stage.request("8.8.8.9");
    }

    #[test]
    fn a_verdict_of_any_values_is_acted_on(
        reason in ".{0,100}",
        ttl_s: u32,
        score: u8,
        provisional: bool,
    ) {
        let mut stage = Stage::new(HOLD);
        stage.request("8.8.8.8");
        let token = stage.asked();
        let verdict = Verdict { reason, ttl_s, score, provisional, ..deny_verdict("8.8.8.8/32") };
        stage.answer_with(token, &verdict);
        let ended = stage.host.sent().len() + stage.host.resumed().len();
        proptest::prop_assert_eq!(ended, 1);
    }
}
