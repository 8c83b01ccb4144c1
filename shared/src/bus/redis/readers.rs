//! The blocking reads. Each reader has a connection of its own: a blocked one answers nothing else meanwhile. A read
//! that is abandoned half-way takes its connection with it, or Redis would go on to deliver jobs to nobody.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use tokio::time::{Instant, timeout};

use super::{
    error::is_group_missing,
    link::{Link, OwnConnection, read},
    scripts::CREATE_GROUP,
};
use crate::bus::{BusError, Delivery, Entry, EntryId, GroupReader, Mail, MailboxReader};

/// How much longer than the server blocks we wait for its answer.
const ANSWER_RESERVE: Duration = Duration::from_secs(1);
/// Longest read of a reader, after which it asks again.
const LONGEST_READ: Duration = Duration::from_secs(2);
/// Events that one read of a mailbox returns at most.
const MAILS: usize = 256;

/// Fields and values of an entry, one after the other.
type Fields = Vec<Bytes>;
/// Entries as Redis replies them.
pub(super) type RawEntries = Vec<(String, Fields)>;
/// Reply to a read of several streams: nothing when none came.
type RawStreams = Option<Vec<(String, RawEntries)>>;

fn field(fields: &[Bytes], name: &str) -> Result<Bytes, BusError> {
    let mut pairs = fields.chunks_exact(2);
    let value = pairs.find_map(|pair| (pair[0] == name).then(|| pair[1].clone()));
    value.ok_or_else(|| BusError::Protocol(format!("an entry has no field `{name}`")))
}

fn text(bytes: &Bytes) -> Result<String, BusError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| BusError::Protocol("a name is not UTF-8".into()))
}

pub(super) fn entry((id, fields): (String, Fields)) -> Result<Entry, BusError> {
    Ok(Entry { id: id.parse()?, payload: field(&fields, "d")? })
}

fn mail((id, fields): (String, Fields)) -> Result<Mail, BusError> {
    Ok(Mail {
        id: id.parse()?,
        stream: text(&field(&fields, "s")?)?,
        entry: text(&field(&fields, "i")?)?.parse()?,
        payload: field(&fields, "d")?,
    })
}

fn entries_of(reply: Value) -> Result<RawEntries, BusError> {
    let streams: RawStreams = read(reply)?;
    Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
}

/// Adds `BLOCK`, which must not be zero: Redis takes that for ever.
fn add_block(command: &mut Cmd, block: Duration) {
    if block.as_millis() > 0 {
        command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Why a read came to nothing.
enum Failed {
    /// As Redis says it.
    Raw(RedisError),
    /// As the bus says it.
    Told(BusError),
}

/// The connection from before where it still leads to the primary, or a new one.
async fn current(link: &Link, before: Option<OwnConnection>) -> Result<OwnConnection, BusError> {
    match before {
        Some(own) if link.is_current(&own) => Ok(own),
        _ => link.own_connection().await,
    }
}

/// The reply to a read that blocks for `block`. Looking for the primary and connecting have bounds of their own.
async fn ask(
    link: &Link,
    own: &mut OwnConnection,
    read: &Cmd,
    block: Duration,
) -> Result<RedisResult<Value>, BusError> {
    let answer = timeout(block + ANSWER_RESERVE, read.query_async(&mut own.connection)).await;
    answer.map_err(|_| link.no_answer())
}

pub(super) struct RedisGroupReader {
    link: Link,
    /// None while a read is under way and after an error.
    connection: Option<OwnConnection>,
    stream: Arc<str>,
    group: Arc<str>,
    consumer: String,
}

impl fmt::Debug for RedisGroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisGroupReader");
        debug.field("link", &self.link).field("stream", &self.stream).field("group", &self.group);
        debug.field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

impl RedisGroupReader {
    pub(super) async fn open(link: Link, stream: &str, group: &str, consumer: &str) -> Result<Self, BusError> {
        let reader =
            Self { link, connection: None, stream: stream.into(), group: group.into(), consumer: consumer.to_owned() };
        reader.create_group().await?;
        Ok(reader)
    }

    async fn create_group(&self) -> Result<(), BusError> {
        self.link.invoke(CREATE_GROUP.key(&*self.stream).arg(&*self.group)).await
    }

    async fn read(&mut self, command: &Cmd, block: Duration) -> Result<Value, Failed> {
        let before = self.connection.take();
        let mut own = current(&self.link, before).await.map_err(Failed::Told)?;
        let reply = ask(&self.link, &mut own, command, block).await.map_err(Failed::Told)?;
        if reply.as_ref().err().is_none_or(is_group_missing) {
            self.connection = Some(own);
        }
        reply.map_err(Failed::Raw)
    }
}

#[async_trait]
impl GroupReader for RedisGroupReader {
    async fn next(&mut self, count: usize, block: Duration) -> Result<Vec<Delivery>, BusError> {
        let deadline = Instant::now() + block.min(Duration::from_secs(86_400));
        loop {
            let block = deadline.saturating_duration_since(Instant::now()).min(LONGEST_READ);
            let mut command = cmd("XREADGROUP");
            command.arg("GROUP").arg(&*self.group).arg(&self.consumer).arg("COUNT").arg(count.max(1));
            add_block(&mut command, block);
            command.arg("STREAMS").arg(&*self.stream).arg(">");
            let entries = match self.read(&command, block).await {
                Ok(reply) => entries_of(reply)?,
                Err(Failed::Raw(error)) if is_group_missing(&error) => {
                    self.create_group().await?;
                    continue;
                }
                Err(Failed::Raw(error)) => return Err(self.link.describe(&error)),
                Err(Failed::Told(error)) => return Err(error),
            };
            if !entries.is_empty() || Instant::now() >= deadline {
                return entries.into_iter().map(|raw| self.delivery(entry(raw)?)).collect();
            }
        }
    }
}

impl RedisGroupReader {
    fn delivery(&self, entry: Entry) -> Result<Delivery, BusError> {
        let (stream, group) = (self.stream.clone(), self.group.clone());
        Ok(Delivery { stream, group, id: entry.id, payload: entry.payload, deliveries: 1 })
    }
}

/// A read under way: the connection comes back with the reply when it can be used again.
type Reading = Pin<Box<dyn Future<Output = Result<(OwnConnection, RawEntries), BusError>> + Send>>;

pub(super) struct RedisMailboxReader {
    link: Link,
    mailbox: String,
    last: EntryId,
    connection: Option<OwnConnection>,
    /// Kept from call to call, so that a cancelled call loses nothing.
    reading: Option<Reading>,
}

impl fmt::Debug for RedisMailboxReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisMailboxReader");
        debug.field("link", &self.link).field("mailbox", &self.mailbox).field("last", &self.last);
        debug.finish_non_exhaustive()
    }
}

impl RedisMailboxReader {
    pub(super) async fn open(link: Link, mailbox: &str) -> Result<Self, BusError> {
        let mut newest = cmd("XREVRANGE");
        newest.arg(mailbox).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: RawEntries = link.query(&newest).await?;
        let last = newest.first().map_or(Ok(EntryId::START), |(id, _)| id.parse())?;
        Ok(Self { link, mailbox: mailbox.to_owned(), last, connection: None, reading: None })
    }

    fn start(&mut self) -> Reading {
        let (link, connection) = (self.link.clone(), self.connection.take());
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(MAILS);
        add_block(&mut command, LONGEST_READ);
        command.arg("STREAMS").arg(&self.mailbox).arg(self.last.to_string());
        Box::pin(async move {
            let mut own = current(&link, connection).await?;
            let reply = ask(&link, &mut own, &command, LONGEST_READ).await?;
            let reply = reply.map_err(|error| link.describe(&error))?;
            Ok((own, entries_of(reply)?))
        })
    }
}

#[async_trait]
impl MailboxReader for RedisMailboxReader {
    async fn next(&mut self, block: Duration) -> Result<Vec<Mail>, BusError> {
        let deadline = Instant::now() + block.min(Duration::from_secs(86_400));
        loop {
            let reading = self.reading.take().unwrap_or_else(|| self.start());
            let reading = self.reading.insert(reading);
            let Ok(answer) = tokio::time::timeout_at(deadline, reading).await else { return Ok(Vec::new()) };
            self.reading = None;
            let (connection, entries) = answer?;
            self.connection = Some(connection);
            if let Some((newest, _)) = entries.last() {
                self.last = newest.parse()?;
                return entries.into_iter().map(mail).collect();
            }
        }
    }
}
