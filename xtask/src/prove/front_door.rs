//! How the promises of the front door are measured: by the tests that hold them, each figure as they print it
//! (`test_run`), beside its goal.

use std::fs;

use super::{
    Check, Context,
    figure::Figure,
    goals::front_door as goal,
    pipeline::counted_tests,
    test_run::{Tests, tests},
};
use crate::host;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "bad credentials", goal: goal::CREDENTIALS, measure: credentials },
        Check { name: "issuer's keys", goal: goal::ISSUER, measure: issuer },
        Check { name: "refresh and revocation", goal: goal::REVOCATION, measure: revocation },
        Check { name: "resume", goal: goal::RESUME, measure: resume },
        Check { name: "secrets", goal: goal::SECRETS, measure: secrets },
        Check { name: "the newcomer's path", goal: goal::NEWCOMER, measure: newcomer },
        Check { name: "tunnel", goal: goal::TUNNEL, measure: tunnel },
    ]
}

fn credentials(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let table = tests(context, Tests::of("front_door", "no_bad_credential_gets_past_the_handshake"))?;
    let door = tests(context, Tests::of("credentials", ""))?;
    let speed = tests(context, Tests::measuring("front_door", "the_door_decides_fast"))?;
    Ok(vec![
        table.ran("the table of bad credentials, at a gateway with everything"),
        table.at_least("bad credentials tried", "bad_credentials_tried", goal::BAD_CREDENTIALS),
        table.share("bad credentials refused before the 101", "bad_credentials_refused", "bad_credentials_tried"),
        table.at_most("answers with a status of 500 and above", "bad_credentials_5xx", 0.0, ""),
        door.ran("the door's own table"),
        speed.ran("handshakes at 100/s"),
        speed.at_most("decision of a handshake, p99", "handshake_p99_ms", goal::HANDSHAKE_P99_MS, "ms"),
    ])
}

fn issuer(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::of("sign_in", "trusted"))?;
    let live = tests(context, Tests::of("front_door", "an_issuer_that_is_away"))?;
    let made_up = "jwks_fetches_per_minute_for_unknown_keys";
    Ok(vec![
        found.ran("trusted issuers"),
        found.exactly("fetches until a rotated key is taken", "jwks_fetches_after_rotation", 1.0),
        found.at_most("fetches a minute for 10,000 made-up keys", made_up, goal::FETCHES_A_MINUTE, ""),
        found.at_most("refused while the issuer was away for an hour", "refused_while_issuer_down", 0.0, ""),
        live.ran("a live session while the issuer is away"),
    ])
}

fn revocation(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let once = tests(context, Tests::of("front_door", "a_hundred_refreshes_of_one_token"))?;
    let reuse = tests(context, Tests::of("front_door", "a_refresh_token_used_again"))?;
    let logout = tests(context, Tests::of("front_door", "signing_out_ends_the_sockets"))?;
    let people = tests(context, Tests::of("people", ""))?;
    Ok(vec![
        once.exactly("successors of 100 refreshes of one token at once", "refresh_successors", 1.0),
        reuse.at_most(
            "a used token again: its sockets at two gateways end",
            "reuse_closes_seconds",
            goal::REVOKED_S,
            "s",
        ),
        logout.at_most("signing out: its sockets at two gateways end", "logout_closes_seconds", goal::REVOKED_S, "s"),
        people.ran("people on SQLite and PostgreSQL"),
    ])
}

fn resume(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::measuring("resume", "fifty_sessions_outlive_twenty_gateways"))?;
    let more = tests(context, Tests::of("resume", ""))?;
    Ok(vec![
        found.ran("50 sessions, 20 rounds of killing a gateway"),
        found.at_least("finals that were owed", "resume_finals", 1.0),
        found.at_least("sockets that broke", "resume_sockets", 1.0),
        found.at_most("finals missing", "resume_missing", 0.0, ""),
        found.at_most("finals that came twice", "resume_twice", 0.0, ""),
        found.at_most("from a broken socket to a resumed session, p95", "resume_p95_seconds", goal::RESUMED_P95_S, "s"),
        more.ran("resume, one thing at a time"),
    ])
}

fn secrets(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::of("canary", ""))?;
    Ok(vec![
        found.ran("a run of everything with secrets that are known"),
        found.at_least("kinds of secrets", "canary_secrets", 5.0),
        found.at_least("bytes looked through", "canary_bytes", 1.0),
        found.at_most("times a secret was found", "canary_hits", 0.0, ""),
    ])
}

/// That the document is there and has what it promises; that what it names exists is a test of its own (`tidy`).
fn newcomer(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let text = fs::read_to_string(context.workspace.root.join("docs/SIGN-IN.md")).unwrap_or_default();
    let wanted = goal::DOCUMENTED;
    let there = wanted.iter().filter(|word| text.contains(**word)).count();
    let tidy = tests(context, Tests::of("tidy", ""))?;
    let local = tests(context, Tests::of("sign_in", ""))?;
    Ok(vec![
        Figure::all("what docs/SIGN-IN.md has to tell", there, wanted.len()),
        tidy.ran("what documents name exists"),
        local.ran("sign-in at the provider that runs on this machine"),
    ])
}

fn tunnel(context: &Context) -> anyhow::Result<Vec<Figure>> {
    host::ensure(&[host::REDIS])?;
    let command = context.workspace.cargo(["test", "--workspace", "--test", "tunnel_lint"]);
    Ok(vec![counted_tests(command, "the lint of cloudflared/ and compose.yml, and its bad examples")?])
}
