//! How the promise "every utterance gets exactly one final, or a visible gap" is measured under faults and load: by the long
//! forms of the tests that hold it (`test_run`), by `load gateway-bench`, and by the fuzz targets.

use super::{
    Check, Context,
    figure::Figure,
    goals::faults as goal,
    test_run::{Found, Tests, script, tests},
};
use crate::{test, workspace::run};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "workers are killed", goal: goal::KILLS, measure: kills },
        Check { name: "Redis is killed", goal: goal::REDIS, measure: redis },
        Check { name: "the network is cut", goal: goal::PARTITION, measure: partition },
        Check { name: "conformance", goal: goal::CONFORMANCE, measure: conformance },
        Check { name: "overload", goal: goal::OVERLOAD, measure: overload },
        Check { name: "the gateway alone", goal: goal::GATEWAY, measure: gateway },
        Check { name: "hostile clients", goal: goal::HOSTILE, measure: hostile },
        Check { name: "soak", goal: goal::SOAK, measure: soak },
    ]
}

fn nothing(found: &Found, what: &str, name: &str) -> Figure {
    found.at_most(what, name, 0.0, "")
}

fn kills(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let many = tests(context, Tests::measuring("chaos", "ten_thousand_utterances_two_hundred_kills"))?;
    let held = tests(context, Tests::measuring("worker_life", "a_kill_in_mid_job_delays_its_caption"))?;
    let life = tests(context, Tests::of("worker_life", ""))?;
    let flaps = tests(context, Tests::measuring("worker_life", "a_redis_that_flaps_for_a_minute"))?;
    let held_p95 = "a killed worker's utterance captioned, real models, p95";
    Ok(vec![
        many.ran("utterances through kills, with three seeds"),
        many.at_least("utterances", "chaos_utterances", goal::UTTERANCES),
        many.at_least("workers killed", "chaos_kills", goal::WORKER_KILLS),
        nothing(&many, "finals lost", "chaos_lost"),
        nothing(&many, "finals twice", "chaos_twice"),
        many.at_most(
            "a killed worker's utterance captioned, p95",
            "chaos_kill_caption_p95_seconds",
            goal::KILL_CAPTION_P95_S,
            "s",
        ),
        held.at_most(held_p95, "kill_caption_p95_seconds", goal::KILL_CAPTION_P95_S, "s"),
        life.ran("the worker's life, one thing at a time"),
        nothing(&flaps, "good jobs given up while Redis flaps for a minute", "outage_given_up"),
    ])
}

fn redis(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let killed = tests(context, Tests::measuring("chaos", "twenty_redis_kills"))?;
    let moved = tests(context, Tests::measuring("chaos", "ten_failovers"))?;
    let alone = tests(context, Tests::measuring("bus_faults", "ten_failovers_lose_no_job"))?;
    let faults = tests(context, Tests::of("bus_faults", ""))?;
    let next = "next caption after Redis answers, slowest";
    Ok(vec![
        killed.at_least("times Redis was killed", "redis_kills", goal::REDIS_KILLS),
        nothing(&killed, "utterances lost or without their words", "redis_kill_lost"),
        nothing(&killed, "finals twice", "redis_kill_twice"),
        nothing(&killed, "sockets broken", "redis_kill_sockets_broken"),
        killed.at_most(next, "redis_kill_caption_max_seconds", goal::NEXT_CAPTION_S, "s"),
        moved.at_least("failovers", "failovers", goal::FAILOVERS),
        moved.at_most("failover, slowest", "failover_max_seconds", goal::FAILOVER_S, "s"),
        nothing(&moved, "sockets broken by failovers", "failover_sockets_broken"),
        nothing(&moved, "utterances lost by failovers", "failover_lost"),
        alone.at_most("the bus alone, slowest outage", "sentinel_outage_max_seconds", goal::FAILOVER_S, "s"),
        nothing(&alone, "acknowledged jobs lost by ten failovers", "sentinel_lost"),
        faults.ran("what Redis answers in trouble, TLS, Sentinel"),
    ])
}

fn partition(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let cut = tests(context, Tests::measuring("chaos", "partitions"))?;
    Ok(vec![
        cut.ran("partitions of 5, 30 and 120 s"),
        cut.at_most("noticed, slowest", "partition_noticed_max_seconds", goal::NOTICED_S, "s"),
        nothing(&cut, "utterances lost", "partition_lost"),
        nothing(&cut, "gaps", "partition_gaps"),
        cut.at_most("growth for each session", "partition_growth_mb", goal::GROWTH_MB, "MB"),
    ])
}

fn conformance(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let suite = tests(context, Tests::measuring("autobahn", ""))?;
    let order = tests(context, Tests::measuring("reordering", ""))?;
    let corpora = tests(context, Tests::measuring("fuzz_corpora", ""))?;
    let mut figures = vec![
        corpora.ran("a hundred thousand inputs a target, made of the corpora"),
        suite.at_least("cases of Autobahn", "autobahn_cases", goal::AUTOBAHN_CASES),
        nothing(&suite, "cases failed", "autobahn_failed"),
        order.ran("events reordered, doubled and replayed render the same text"),
    ];
    if context.arguments.skip_fuzz {
        figures.push(Figure::not_proven("fuzz targets", "left out by --skip-fuzz"));
        return Ok(figures);
    }
    let found = script(&mut context.workspace.cargo(["xtask", "fuzz", "--executions", "10000000"]))?;
    figures.push(found.ended("fuzz targets"));
    let counts = found.named(|name| name.starts_with("fuzz_") && name.ends_with("_executions"));
    if counts.is_empty() {
        figures.push(Figure::failed("fuzz targets", "none ran"));
    }
    for (name, _) in counts {
        let target = name.trim_start_matches("fuzz_").trim_end_matches("_executions");
        figures.push(found.at_least(&format!("{target}: executions"), name, goal::FUZZ_EXECUTIONS));
        figures.push(nothing(&found, &format!("{target}: crashes"), &format!("fuzz_{target}_crashes")));
    }
    Ok(figures)
}

fn overload(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::measuring("chaos", "overload"))?;
    Ok(vec![
        found.ran("three times the load, and no workers"),
        nothing(&found, "utterances lost", "overload_lost"),
        found.at_least("newcomers refused, each with Retry-After", "overload_refusals", 1.0),
        found.at_most("age of the oldest job that waits", "overload_queue_age_max_seconds", goal::QUEUE_AGE_S, "s"),
        found.at_least("jobs that left the queue unread", "overload_expired", 1.0),
        found.at_most("a newcomer refused, slowest", "overload_refusal_max_ms", goal::REFUSAL_MS, "ms"),
        nothing(&found, "keys evicted", "overload_evictions"),
        found.at_most(
            "from the workers' return to a normal p95",
            "overload_p95_after_seconds",
            goal::NORMAL_AGAIN_S,
            "s",
        ),
    ])
}

fn gateway(context: &Context) -> anyhow::Result<Vec<Figure>> {
    test::install(context.workspace)?;
    run(context.workspace.cargo(["build", "--release", "--workspace", "--bins"]).stdout(std::io::stderr()))?;
    let load = context.workspace.target.join("release/load");
    let found = script(context.workspace.command(load).arg("gateway-bench"))?;
    let mut figures = vec![
        found.ended("the gateway with the stub engine"),
        found.at_least("live sessions a core", "gateway_sessions_per_core", goal::SESSIONS_PER_CORE),
        found.at_most("frame received to job readable, p99", "gateway_job_p99_ms", goal::ADDED_P99_MS, "ms"),
        found.at_most("event published to event on the wire, p99", "gateway_event_p99_ms", goal::ADDED_P99_MS, "ms"),
        found.at_most("memory of an idle session", "gateway_idle_kb", goal::IDLE_KB, "KB"),
        found.at_most("memory of a live session", "gateway_live_kb", goal::LIVE_KB, "KB"),
        found.at_least("idle connections that were open", "gateway_idle_sessions", goal::IDLE_SESSIONS),
        found.at_most("memory with 10,000 idle connections", "gateway_10000_idle_mb", goal::IDLE_10000_MB, "MB"),
    ];
    // What the limit is made of: told, with no goal of its own.
    for (name, percent) in found.named(|name| name.starts_with("gateway_share_")) {
        let part = name.trim_start_matches("gateway_share_").trim_end_matches("_percent").replace('_', " ");
        figures.push(Figure::met(format!("share of the gateway's processor time: {part}"), format!("{percent:.0} %")));
    }
    Ok(figures)
}

fn hostile(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let long = tests(context, Tests::measuring("hostile", "hostile_clients_cost_the_honest_nothing"))?;
    let gone = tests(context, Tests::measuring("hostile", "whoever_vanished_is_gone"))?;
    let short = tests(context, Tests::of("hostile", ""))?;
    Ok(vec![
        long.at_most("p95 of honest captions, beside that without", "hostile_p95_ratio", goal::HOSTILE_RATIO, "times"),
        nothing(&long, "honest sockets broken", "hostile_broken"),
        gone.at_most("a client that vanished is noticed", "vanished_noticed_seconds", goal::NOTICED_S, "s"),
        short.at_most("a frame that is too large is refused", "oversize_told_seconds", goal::OVERSIZE_S, "s"),
        short.ran("each kind of hostile client"),
    ])
}

fn soak(context: &Context) -> anyhow::Result<Vec<Figure>> {
    if context.arguments.skip_soak {
        return Ok(vec![Figure::not_proven("two hours", "left out by --skip-soak")]);
    }
    let found = tests(context, Tests::measuring("chaos", "soak"))?;
    Ok(vec![
        found.at_least("minutes", "soak_minutes", 120.0),
        found.at_most("growth of memory, the worst process", "soak_rss_slope_mb_per_hour", goal::SLOPE_MB_H, "MB/h"),
        found.at_most("descriptors at the end, from the middle", "soak_fd_drift", goal::DESCRIPTORS, ""),
        nothing(&found, "jobs pending at the end", "soak_pending_end"),
        nothing(&found, "utterances lost", "soak_lost"),
        nothing(&found, "finals twice", "soak_twice"),
        nothing(&found, "closes that nothing explains", "soak_unexplained_closes"),
        found.at_most("drift of p95", "soak_p95_drift_percent", goal::DRIFT_PERCENT, "%"),
    ])
}
