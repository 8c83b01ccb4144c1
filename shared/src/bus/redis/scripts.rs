//! The Lua scripts: everything on Redis that takes more than one command is one script, so it happens whole or not
//! at all.

use std::{sync::LazyLock, time::Duration};

use redis::{Script, ScriptInvocation};

use crate::bus::{Delivery, Effects, Guard, IDEMPOTENCY_TTL, Produce, Publish, StateWrite};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("prelude.lua"), include_str!($file))));
    };
}

script!(APPEND, "append.lua");
script!(PRODUCE, "produce.lua");
script!(PUBLISH, "publish.lua");
script!(FINISH, "finish.lua");
script!(COMMIT, "commit.lua");
script!(CREATE_GROUP, "create_group.lua");
script!(RECLAIM, "reclaim.lua");
script!(RENEW, "renew.lua");
script!(HAND_BACK, "hand_back.lua");
script!(RESIGN, "resign.lua");
script!(DEPTH, "depth.lua");
script!(EXPIRE, "expire.lua");
script!(MEMBERS, "members.lua");
script!(TRIM, "trim.lua");
script!(ADMIT, "admit.lua");
script!(HOLD, "hold.lua");
script!(LEAVE, "leave.lua");
script!(HOLDERS, "holders.lua");
script!(COUNT, "count.lua");

/// Longest time to live, for durations too long for Redis.
const LONGEST_TTL: Duration = Duration::from_secs(3650 * 86_400);

/// A time to live as Redis takes it; it refuses zero.
pub(super) fn ttl_ms(ttl: Duration) -> u64 {
    u64::try_from(ttl.min(LONGEST_TTL).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Key that routes `stream` to its mailbox. The prelude builds the same.
pub(super) fn route_key(stream: &str) -> String {
    format!("route:{stream}")
}

/// Adds what `set` of the prelude takes.
fn add_set(call: &mut ScriptInvocation<'_>, write: &StateWrite) {
    call.key(&write.key).arg(&*write.value).arg(ttl_ms(write.ttl));
}

/// Adds what `publish` of the prelude takes.
pub(super) fn add_publish(call: &mut ScriptInvocation<'_>, event: &Publish) {
    call.key(&event.stream).arg(&*event.payload).arg(ttl_ms(event.ttl));
}

/// Adds what `produce` of the prelude takes.
pub(super) fn add_produce(call: &mut ScriptInvocation<'_>, job: &Produce) {
    call.key(&job.stream).key(format!("seen:{}", job.idempotency_key));
    call.arg(&*job.payload).arg(ttl_ms(IDEMPOTENCY_TTL)).arg(usize::from(job.set.is_some()));
    if let Some(write) = &job.set {
        add_set(call, write);
    }
}

/// Adds what `guard_holds` of the prelude takes.
pub(super) fn add_guard(call: &mut ScriptInvocation<'_>, guard: Option<&Guard>) {
    match guard {
        None => call.arg("none"),
        Some(Guard { key, expected: None }) => call.key(key).arg("absent"),
        Some(Guard { key, expected: Some(value) }) => call.key(key).arg("equals").arg(&**value),
    };
}

/// Adds what `guard_holds` and then `take_effect` of the prelude take.
fn add_effects(call: &mut ScriptInvocation<'_>, effects: &Effects) {
    add_guard(call, effects.guard.as_ref());
    call.arg(effects.publish.len());
    effects.publish.iter().for_each(|event| add_publish(call, event));
    call.arg(effects.produce.len());
    effects.produce.iter().for_each(|job| add_produce(call, job));
    call.arg(effects.set.len());
    effects.set.iter().for_each(|write| add_set(call, write));
}

/// The call that finishes `job`.
pub(super) fn finish(job: &Delivery, effects: &Effects) -> ScriptInvocation<'static> {
    let mut call = FINISH.prepare_invoke();
    call.key(&*job.stream).arg(&*job.group).arg(job.id.to_string());
    add_effects(&mut call, effects);
    call
}

/// The call that carries out `effects` alone.
pub(super) fn commit(effects: &Effects) -> ScriptInvocation<'static> {
    let mut call = COMMIT.prepare_invoke();
    add_effects(&mut call, effects);
    call
}
