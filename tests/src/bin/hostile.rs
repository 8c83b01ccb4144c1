//! Sends hostile clients to a gateway of your own: `hostile ADDRESS KIND [COUNT] [SECONDS]`.
//!
//! Only loopback addresses are taken: this is a tool to test what one runs oneself.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use tests::hostile::{Attack, Horde, attack};
use tokio::time::sleep;

fn usage() -> ExitCode {
    let kinds: Vec<_> = Attack::ALL.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: hostile 127.0.0.1:PORT KIND [COUNT] [SECONDS]\nkinds: {}", kinds.join(", "));
    ExitCode::from(64)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let addr =
        arguments.first().and_then(|addr| addr.parse::<SocketAddr>().ok()).filter(|addr| addr.ip().is_loopback());
    let kind = arguments.get(1).and_then(|name| Attack::ALL.iter().find(|(known, _)| known == name));
    let number = |index: usize, default: usize| arguments.get(index).map_or(Some(default), |text| text.parse().ok());
    let (Some(addr), Some((_, kind)), Some(count), Some(seconds)) = (addr, kind, number(2, 1), number(3, 30)) else {
        return usage();
    };
    let time = Duration::from_secs(seconds as u64);
    if count == 1 {
        let ended = attack(addr, [127, 0, 0, 1].into(), *kind, time).await;
        let (after, close) = (ended.after, ended.close_code());
        println!("ended after {after:?}, close code {close:?}, {} bytes sent", ended.sent);
        return ExitCode::SUCCESS;
    }
    let horde = Horde::raise(addr, &[(*kind, count)]);
    println!("{} hostile clients for {seconds} s", horde.len());
    sleep(time).await;
    horde.disperse().await;
    ExitCode::SUCCESS
}
