//! Reading a manifest from the destination, a piece at a time.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, try_unfold};
use jiff::Timestamp;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::super::error::Error;
use super::super::store::{Got, Store};
use super::{BaseRef, Flaw, Header, Item, ManifestFile, Parser, TEXT_MAX_BYTES, header_in};

/// What is read first of a manifest: a header has a few hundred bytes.
const HEAD_FIRST_BYTES: u64 = 4 * 1024;
/// No header is longer.
const HEAD_MAX_BYTES: u64 = 256 * 1024;
/// What is asked for at once when all of it is read: each piece has its own time-out and tries.
const PIECE_BYTES: u64 = 8 * 1024 * 1024;
/// Larger than any manifest: 100,000,000 files are 17 GB.
const MANIFEST_MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// The begin of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// Version of the format.
    pub version: u32,
    /// When ClickHouse began, as written: `2026-11-22 21:18:50`, in the server's time zone.
    pub timestamp: Option<String>,
    /// Made by ClickHouse for each backup.
    pub uuid: String,
    /// The id that the BACKUP statement gave.
    pub backup_id: Option<String>,
    /// What it is built on.
    pub base: Option<BaseRef>,
    /// Last-Modified of the manifest: when the backup was complete. From S3 in whole seconds, while
    /// listings have fractions.
    pub modified: Timestamp,
    /// Size of the manifest itself, in bytes.
    pub size_bytes: u64,
}

impl ManifestHead {
    fn new(header: Header, got: &Got) -> Self {
        Self {
            version: header.version,
            timestamp: header.timestamp,
            uuid: header.uuid,
            backup_id: header.backup_id,
            base: header.base,
            modified: got.modified,
            size_bytes: got.size,
        }
    }
}

fn invalid(store: &Store, key: &str, flaw: &Flaw) -> Error {
    Error::Invalid {
        what: store.shown(key),
        text: format!("this is no manifest of a backup: {flaw}"),
    }
}

/// The head of a manifest: one ranged request where the header is as short as they are.
/// `None`: it is not there.
pub async fn read_head(store: &Store, key: &str) -> Result<Option<ManifestHead>, Error> {
    let mut length = HEAD_FIRST_BYTES;
    loop {
        let Some(got) = store.get(key, Some(0..length), None, length).await? else {
            return Ok(None);
        };
        let found = header_in(&got.bytes).map_err(|flaw| invalid(store, key, &flaw))?;
        if let Some(header) = found {
            return Ok(Some(ManifestHead::new(header, &got)));
        }
        if got.size <= length || length >= HEAD_MAX_BYTES {
            return Err(invalid(store, key, &Flaw::CutOff));
        }
        length *= 8;
    }
}

type Pieces = BoxStream<'static, std::io::Result<Bytes>>;

/// A manifest that is read file by file.
/// It holds a piece of 8 MiB and one file, however long the manifest is.
pub struct ManifestReader {
    store: Store,
    key: String,
    /// What it says about itself.
    pub head: ManifestHead,
    xml: quick_xml::Reader<Bounded<StreamReader<Pieces, Bytes>>>,
    parser: Parser,
    buffer: Vec<u8>,
}

impl ManifestReader {
    pub(in super::super) async fn open(store: &Store, key: &str) -> Result<Self, Error> {
        let first = store
            .get(key, Some(0..PIECE_BYTES), None, PIECE_BYTES)
            .await?;
        let Some(first) = first else {
            return Err(Error::NotFound {
                what: store.shown(key),
            });
        };
        if first.size > MANIFEST_MAX_BYTES {
            let text = format!("its {} bytes are more than any manifest has", first.size);
            return Err(Error::Invalid {
                what: store.shown(key),
                text,
            });
        }
        let head = ManifestHead::new(Header::default(), &first);
        let pieces = pieces(store.clone(), key.to_owned(), first);
        let mut xml = quick_xml::Reader::from_reader(Bounded {
            inner: StreamReader::new(pieces),
            left: 0,
        });
        xml.config_mut().expand_empty_elements = true;
        let mut reader = Self {
            store: store.clone(),
            key: key.to_owned(),
            head,
            xml,
            parser: Parser::default(),
            buffer: Vec::new(),
        };
        match reader.item().await? {
            Some(Item::Header(header)) => {
                reader.head = ManifestHead {
                    modified: reader.head.modified,
                    size_bytes: reader.head.size_bytes,
                    version: header.version,
                    timestamp: header.timestamp,
                    uuid: header.uuid,
                    backup_id: header.backup_id,
                    base: header.base,
                };
                Ok(reader)
            }
            // The parser gives the header first.
            _ => Err(invalid(store, key, &Flaw::CutOff)),
        }
    }

    /// The next file, `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is cut off or no manifest from here on; others when it could not be
    /// read.
    pub async fn next(&mut self) -> Result<Option<ManifestFile>, Error> {
        loop {
            match self.item().await? {
                Some(Item::File(file)) => return Ok(Some(file)),
                // Nothing may stand after the end; what does is found on the way.
                Some(Item::Header(_) | Item::End) => {}
                None => return Ok(None),
            }
        }
    }

    /// `None` at the end of the object.
    async fn item(&mut self) -> Result<Option<Item>, Error> {
        loop {
            self.buffer.clear();
            self.xml.get_mut().left = TEXT_MAX_BYTES;
            let event = self.xml.read_event_into_async(&mut self.buffer).await;
            let event = event.map_err(|error| unread(&self.store, &self.key, &error))?;
            let is_end = matches!(event, quick_xml::events::Event::Eof);
            let item = self.parser.take(&event);
            match item.map_err(|flaw| invalid(&self.store, &self.key, &flaw))? {
                Some(item) => return Ok(Some(item)),
                None if is_end => return Ok(None),
                None => {}
            }
        }
    }
}

fn unread(store: &Store, key: &str, error: &quick_xml::Error) -> Error {
    if let quick_xml::Error::Io(io) = error {
        let carried = io.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(error) = carried {
            return error.clone();
        }
    }
    invalid(store, key, &Flaw::Syntax(error.to_string()))
}

/// The bytes of the object; our errors travel inside of the reader's.
fn pieces(store: Store, key: String, first: Got) -> Pieces {
    let (size, etag) = (first.size, first.etag);
    let begin = (Some(first.bytes), 0);
    try_unfold(begin, move |(ready, at): (Option<Bytes>, u64)| {
        let (store, key, etag) = (store.clone(), key.clone(), etag.clone());
        async move {
            if at >= size {
                return Ok(None);
            }
            let bytes = match ready {
                Some(bytes) => bytes,
                None => piece(&store, &key, at..(at + PIECE_BYTES).min(size), etag).await?,
            };
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, (None, next))))
        }
    })
    .map(|piece: Result<Bytes, Error>| piece.map_err(std::io::Error::other))
    .boxed()
}

async fn piece(
    store: &Store,
    key: &str,
    range: Range<u64>,
    etag: Option<String>,
) -> Result<Bytes, Error> {
    let changed = |text: &str| Error::Unavailable {
        doing: format!("reading {}", store.shown(key)),
        text: text.to_owned(),
    };
    let got = store.get(key, Some(range), etag, PIECE_BYTES).await?;
    match got {
        Some(got) if !got.bytes.is_empty() => Ok(got.bytes),
        Some(_) => Err(changed("a part of it came empty")),
        None => Err(changed("it went away while it was read")),
    }
}

/// Gives at most `left` bytes until `left` is set again, so that one tag or text without an end cannot
/// fill memory.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Bounded<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.left == 0 {
            let text = "a tag or a text in it is longer than 64 KiB";
            return Poll::Ready(Err(std::io::Error::other(text)));
        }
        let left = this.left;
        Pin::new(&mut this.inner)
            .poll_fill_buf(cx)
            .map_ok(|bytes| &bytes[..bytes.len().min(left)])
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.left = this.left.saturating_sub(amount);
        Pin::new(&mut this.inner).consume(amount);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = match self.as_mut().poll_fill_buf(cx) {
            Poll::Ready(Ok(bytes)) => {
                let count = bytes.len().min(into.remaining());
                into.put_slice(&bytes[..count]);
                count
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}
