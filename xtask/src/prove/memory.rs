//! `subtide serve` as a child process, and what it takes of the machine's memory.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::Context;
use crate::workspace::line;

/// Loading the models takes about a second; a busy machine gets more.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The all-in-one server on ports of its own; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Returns once it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub(crate) fn start(context: &Context) -> anyhow::Result<Self> {
        let (port, health) = (free_port()?, free_port()?);
        let mut command = super::pipeline::subtide(context);
        command.arg("serve").env("GATEWAY_PORT", port.to_string()).env("HEALTH_PORT", health.to_string());
        command.env("ENABLE_AUTH", "false").env("LOG_LEVEL", "warn").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let mut server = Self { child, port };
        let begun = Instant::now();
        while begun.elapsed() < START_TIMEOUT {
            if let Some(status) = server.child.try_wait()? {
                bail!("`subtide serve` ended at once ({status})");
            }
            if ready(health) {
                return Ok(server);
            }
            pause(Duration::from_millis(100));
        }
        bail!("`subtide serve` was not ready within {} s", START_TIMEOUT.as_secs())
    }

    /// Bytes resident now, and at the most so far.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("/proc/PID/status")?;
        Ok((field(&status, "VmRSS:")?, field(&status, "VmHWM:")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(socket, "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("no free port")?.port())
}

/// Lines such as `VmRSS:     5124 kB`, where kB is 1024 bytes.
fn field(status: &str, name: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("no {name}"))?;
    Ok(number.parse::<u64>()? * 1024)
}

#[expect(clippy::disallowed_methods, reason = "xtask has no async runtime whose thread this could block")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_kilobytes_are_1024_bytes() {
        let status = "Name:\tsubtide\nVmHWM:\t    5124 kB\nVmRSS:\t    5000 kB\n";
        assert_eq!(field(status, "VmHWM:").unwrap(), 5124 * 1024);
        assert!(field(status, "VmSwap:").is_err());
    }
}
