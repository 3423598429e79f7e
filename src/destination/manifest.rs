//! The manifest that ClickHouse writes last into a backup: `.backup`, XML on one line.
//!
//! Facts, seen on engine 26.9 and in manifests of it:
//! - the header (`version` … `base_backup_uuid`) stands before `contents`, in the first few hundred
//!   bytes; `contents` has one `file` per file, and 1,000,000 files are some 170 MB;
//! - texts are written as they are, without XML's escapes: an id or a base with `&` or `<` in it gives
//!   a manifest that ClickHouse itself cannot read again, so it counts as none here, too;
//! - there is never a DOCTYPE, so none is accepted and no entity can be defined.

mod file;
mod stream;

use quick_xml::events::{BytesRef, Event};

use file::Draft;
pub use file::ManifestFile;
pub use stream::{ManifestHead, ManifestReader, read_head};

/// Longest text of one element, in bytes; names of files have a few hundred.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;
/// Elements within elements; a manifest has four.
const DEPTH_MAX: usize = 8;

/// What a manifest says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// As written: `2026-11-22 21:18:50`, without a time zone.
    pub timestamp: Option<String>,
    /// Made by ClickHouse for each backup.
    pub uuid: String,
    /// The id that the BACKUP statement gave, or one made by the server.
    pub backup_id: Option<String>,
    /// What it is built on.
    pub base: Option<BaseRef>,
}

/// The backup that an increment is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRef {
    /// As written: `Disk('s3_backup', 'full1')`. Keys given in a statement are left out.
    pub text: String,
    /// Its last argument, the name; `None` where the place itself was given in the statement.
    pub name: Option<String>,
    /// The `uuid` of its manifest.
    pub uuid: Option<String>,
}

impl BaseRef {
    fn new(text: &str, uuid: Option<String>) -> Self {
        let (function, arguments) = text.split_once('(').unwrap_or((text, ""));
        // S3('https://…', 'key', 'secret'): its last argument is no name.
        let has_place_in_it = !matches!(function, "Disk" | "File") && arguments.starts_with('\'');
        if has_place_in_it {
            let text = format!("{function}(…)");
            return Self {
                text,
                name: None,
                uuid,
            };
        }
        Self {
            text: text.to_owned(),
            name: last_literal(arguments),
            uuid,
        }
    }
}

/// The last `'…'` of a list of arguments, with ClickHouse's escapes undone.
fn last_literal(text: &str) -> Option<String> {
    let mut last = None;
    let mut open: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (&mut open, c) {
            (None, '\'') => open = Some(String::new()),
            (None, _) => {}
            (Some(_), '\'') => last = open.take(),
            (Some(literal), '\\') => literal.extend(characters.next()),
            (Some(literal), c) => literal.push(c),
        }
    }
    last
}

/// Why something is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It ends too early.
    #[error("it ends before its end: the upload was cut off, or the object was changed")]
    CutOff,
    /// It is no XML.
    #[error("it is no XML: {0}")]
    Syntax(String),
    /// It is XML, but not this.
    #[error("it is not what ClickHouse writes: {0}")]
    Strange(String),
}

fn strange<T>(text: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Strange(text.into()))
}

/// What the parser came upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// All that stands before `contents`.
    Header(Header),
    /// One file.
    File(ManifestFile),
    /// The end of the manifest; without it, it was cut off.
    End,
}

/// Turns XML events into [`Item`]s; holds one element at a time.
#[derive(Debug, Default)]
pub struct Parser {
    depth: usize,
    is_in_contents: bool,
    is_in_file: bool,
    is_complete: bool,
    had_contents: bool,
    text: String,
    header: Header,
    base: Option<String>,
    base_uuid: Option<String>,
    draft: Draft,
}

impl Parser {
    /// Takes the next event; empty elements must come as a start and an end.
    ///
    /// # Errors
    /// When this can no longer become a manifest.
    pub fn take(&mut self, event: &Event<'_>) -> Result<Option<Item>, Flaw> {
        match event {
            Event::Start(start) => self.start(start.name().as_ref()),
            Event::End(end) => self.end(end.name().as_ref()),
            Event::Text(text) => {
                let text = text.decode().map_err(|error| syntax(&error))?;
                self.add(&text).map(|()| None)
            }
            Event::CData(text) => {
                let text = text.decode().map_err(|error| syntax(&error))?;
                self.add(&text).map(|()| None)
            }
            Event::GeneralRef(reference) => {
                let c = resolve(reference)?;
                self.add(c.encode_utf8(&mut [0; 4])).map(|()| None)
            }
            Event::DocType(_) => strange("it has a DOCTYPE"),
            Event::Eof if self.is_complete => Ok(None),
            Event::Eof => Err(Flaw::CutOff),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::Empty(_) => Ok(None),
        }
    }

    fn start(&mut self, name: &[u8]) -> Result<Option<Item>, Flaw> {
        self.depth += 1;
        self.text.clear();
        match (self.depth, name) {
            (1, _) if self.is_complete => strange("it has more than one root"),
            (1, b"config") => Ok(None),
            (1, other) => strange(format!("its root is {}", shown(other))),
            (2, b"contents") if self.had_contents => strange("it has contents twice"),
            (2, b"contents") => {
                (self.is_in_contents, self.had_contents) = (true, true);
                self.header().map(|header| Some(Item::Header(header)))
            }
            (3, b"file") if self.is_in_contents => {
                self.is_in_file = true;
                self.draft = Draft::default();
                Ok(None)
            }
            (DEPTH_MAX.., _) => strange("elements stand too deep in each other"),
            _ => Ok(None),
        }
    }

    fn end(&mut self, name: &[u8]) -> Result<Option<Item>, Flaw> {
        let depth = self.depth;
        self.depth = depth.saturating_sub(1);
        let text = std::mem::take(&mut self.text);
        match depth {
            4 if self.is_in_file => self.draft.field(name, text).map(|()| None),
            3 if self.is_in_file => {
                self.is_in_file = false;
                let file = std::mem::take(&mut self.draft).finish()?;
                Ok(Some(Item::File(file)))
            }
            2 if self.is_in_contents => {
                self.is_in_contents = false;
                Ok(None)
            }
            2 => self.header_field(name, text).map(|()| None),
            1 if !self.had_contents => strange("it has no contents"),
            1 => {
                self.is_complete = true;
                Ok(Some(Item::End))
            }
            _ => Ok(None),
        }
    }

    fn header_field(&mut self, name: &[u8], text: String) -> Result<(), Flaw> {
        match name {
            b"version" => match text.trim().parse() {
                Ok(version) => self.header.version = version,
                Err(_) => return strange(format!("its version is {}", shown(text.as_bytes()))),
            },
            b"timestamp" => self.header.timestamp = Some(text),
            b"uuid" => self.header.uuid = text,
            b"backup_id" => self.header.backup_id = Some(text),
            b"base_backup" => self.base = Some(text),
            b"base_backup_uuid" => self.base_uuid = Some(text),
            // Later versions may say more.
            _ => {}
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Header, Flaw> {
        if self.header.version == 0 || self.header.uuid.is_empty() {
            return strange("its version or its uuid is missing");
        }
        let mut header = std::mem::take(&mut self.header);
        let uuid = self.base_uuid.take();
        header.base = self.base.take().map(|text| BaseRef::new(&text, uuid));
        Ok(header)
    }

    fn add(&mut self, text: &str) -> Result<(), Flaw> {
        if self.text.len() + text.len() > TEXT_MAX_BYTES {
            return strange("a text in it is longer than 64 KiB");
        }
        if self.depth == 0 && !text.trim().is_empty() {
            return strange("it has text outside of its root");
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, Flaw> {
    if let Some(c) = reference
        .resolve_char_ref()
        .map_err(|error| syntax(&error))?
    {
        return Ok(c);
    }
    match &**reference {
        b"amp" => Ok('&'),
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        other => strange(format!("it names the entity {}", shown(other))),
    }
}

fn syntax(error: &dyn std::error::Error) -> Flaw {
    Flaw::Syntax(error.to_string())
}

/// The begin of a text, for a message.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// The header, if `bytes` hold all of it: `Ok(None)` asks for more of them.
///
/// # Errors
/// When this can no longer become a manifest.
pub fn header_in(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    reader.config_mut().expand_empty_elements = true;
    let mut parser = Parser::default();
    loop {
        let event = match reader.read_event() {
            // Whether a piece is cut off or wrong, its end cannot say.
            Err(quick_xml::Error::Syntax(_)) => return Ok(None),
            Err(error) => return Err(syntax(&error)),
            Ok(Event::Eof) => return Ok(None),
            Ok(event) => event,
        };
        if let Some(Item::Header(header)) = parser.take(&event)? {
            return Ok(Some(header));
        }
    }
}

#[cfg(test)]
mod tests;
