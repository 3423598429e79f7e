use std::hash::RandomState;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::destination::Error;
use crate::destination::testing::{fixture, fixture_objects, folder_view, put};

/// All of a manifest, as the parser sees it in one piece.
fn parse(text: &str) -> Result<(Header, Vec<ManifestFile>), Flaw> {
    let mut reader = quick_xml::Reader::from_reader(text.as_bytes());
    reader.config_mut().expand_empty_elements = true;
    let mut parser = Parser::default();
    let (mut header, mut files) = (Header::default(), Vec::new());
    loop {
        let event = reader.read_event().map_err(|error| syntax(&error))?;
        let is_end = matches!(event, Event::Eof);
        match parser.take(&event)? {
            Some(Item::Header(found)) => header = found,
            Some(Item::File(file)) => files.push(file),
            Some(Item::End) | None => {}
        }
        if is_end {
            return Ok((header, files));
        }
    }
}

/// The same through a destination, in pieces.
async fn stream(text: &[u8]) -> Result<u64, Error> {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "one/.backup", text);
    let mut reader = folder_view(dir.path()).manifest("one").await?;
    let mut files = 0;
    while reader.next().await?.is_some() {
        files += 1;
    }
    Ok(files)
}

fn with_file(file: &str) -> String {
    format!(
        "<config><version>1</version><uuid>u</uuid><contents><file>{file}</file></contents></config>"
    )
}

#[rstest]
#[case("full1", 85, 44_422, None)]
#[case("inc1", 95, 50_263, Some("full1"))]
#[case("inc2", 94, 47_273, Some("inc1"))]
#[case("hash", 94, 47_273, None)]
#[case("hash2", 94, 47_273, Some("hash"))]
#[case("nodedup", 94, 47_273, None)]
fn real_manifests_say_what_system_backups_said(
    #[case] name: &str,
    #[case] num_files: usize,
    #[case] total_size: u64,
    #[case] base: Option<&str>,
) {
    let (header, files) = parse(&fixture(name)).unwrap();
    assert_eq!(header.version, 1);
    assert_eq!(header.backup_id.as_deref(), Some(name));
    assert_eq!(header.uuid.len(), 36);
    let found = header.base.as_ref().and_then(|base| base.name.as_deref());
    assert_eq!(found, base);
    assert_eq!(files.len(), num_files);
    assert_eq!(files.iter().map(|file| file.size).sum::<u64>(), total_size);
}

/// What the manifest names is what lies in the folder, no more and no less.
#[rstest]
fn the_objects_that_a_manifest_names_are_those_of_its_folder(
    #[values("full1", "inc1", "inc2", "hash", "hash2", "nodedup", "encrypted")] name: &str,
) {
    let (_, files) = parse(&fixture(name)).unwrap();
    let named: std::collections::BTreeMap<String, u64> = files
        .iter()
        .filter_map(ManifestFile::object)
        .map(|(key, size)| (key.to_owned(), size))
        .collect();
    let there = fixture_objects(name)
        .into_iter()
        // Without deduplication files of no bytes are written, too.
        .filter(|(size, _)| *size > 0)
        .map(|(size, key)| (key, size))
        .collect();
    assert_eq!(named, there);
}

#[rstest]
#[case("full1", "inc1")]
#[case("inc1", "inc2")]
#[case("hash", "hash2")]
fn what_an_increment_takes_from_its_base_is_there(#[case] base: &str, #[case] increment: &str) {
    let hasher = RandomState::new();
    let (_, files) = parse(&fixture(base)).unwrap();
    let there: std::collections::HashSet<u64> =
        files.iter().map(|file| file.identity(&hasher)).collect();
    let (_, files) = parse(&fixture(increment)).unwrap();
    let wanted: Vec<u64> = files
        .iter()
        .filter_map(|file| file.base_identity(&hasher))
        .collect();
    assert!(wanted.len() > 70, "{}", wanted.len());
    assert!(wanted.iter().all(|part| there.contains(part)));
}

#[test]
fn a_file_that_grew_lies_in_both() {
    let (_, files) = parse(&fixture("inc1")).unwrap();
    let grown = files.iter().find(|file| file.name == "data/d/log/s.bin");
    let grown = grown.unwrap();
    assert_eq!((grown.size, grown.base_size), (10_310, 9_417));
    assert_eq!(grown.object(), Some(("data/d/log/s.bin", 893)));
    assert_eq!(
        grown.base_checksum,
        0x99f5_95e6_f584_fa11_46db_7ee8_e96b_7f22
    );
}

#[test]
fn what_clickhouse_itself_cannot_read_is_no_manifest() {
    for name in ["unescaped", "unescaped_base"] {
        assert!(parse(&fixture(name)).is_err(), "{name}");
        assert!(header_in(fixture(name).as_bytes()).is_err(), "{name}");
    }
}

#[rstest]
#[case(
    "Disk('s3_backup', 'full1')",
    Some("full1"),
    "Disk('s3_backup', 'full1')"
)]
#[case(
    r"Disk('d', 'it\'s \\ one')",
    Some(r"it's \ one"),
    r"Disk('d', 'it\'s \\ one')"
)]
#[case(
    "S3(backups, '2026-11-22')",
    Some("2026-11-22"),
    "S3(backups, '2026-11-22')"
)]
#[case("S3('https://s3/b/full', 'key', 'hunter2')", None, "S3(…)")]
#[case("File('full1')", Some("full1"), "File('full1')")]
#[case("Null", None, "Null")]
#[case("Disk('open", None, "Disk('open")]
fn bases(#[case] written: &str, #[case] name: Option<&str>, #[case] text: &str) {
    let base = BaseRef::new(written, None);
    assert_eq!((base.name.as_deref(), base.text.as_str()), (name, text));
}

#[rstest]
#[case("<name>a</name><size>1</size>", "no checksum")]
#[case("<size>1</size><checksum>1</checksum>", "no name")]
#[case("<name>a</name><checksum>1</checksum>", "no size")]
#[case("<name>a</name><size>-1</size>", "a size is")]
#[case(
    "<name>a</name><size>1</size><checksum>xyz</checksum>",
    "a checksum is"
)]
#[case(
    "<name>a</name><size>1</size><checksum>1</checksum><base_size>2</base_size>",
    "more of"
)]
#[case(
    "<name>a</name><size>3</size><checksum>1</checksum><base_size>2</base_size>",
    "no checksum"
)]
#[case("<name>&bomb;</name>", "entity")]
#[case("<a><a><a><a><a><a></a></a></a></a></a></a>", "too deep")]
fn files_that_are_none(#[case] file: &str, #[case] text: &str) {
    let flaw = parse(&with_file(file)).unwrap_err().to_string();
    assert!(flaw.contains(text), "{flaw}");
}

#[test]
fn escapes_are_undone_and_whole_base_needs_no_second_checksum() {
    let file =
        "<name>a&amp;b&#33;</name><size>3</size><checksum>0a</checksum><use_base>true</use_base>";
    let (_, files) = parse(&with_file(file)).unwrap();
    assert_eq!(files[0].name, "a&b!");
    assert_eq!((files[0].base_size, files[0].base_checksum), (3, 10));
    assert_eq!(files[0].object(), None);
}

#[tokio::test]
async fn what_is_cut_off_or_no_manifest_is_invalid_and_never_a_panic() {
    let whole = fixture("inc1");
    assert_eq!(stream(whole.as_bytes()).await, Ok(95));
    for end in [
        0,
        1,
        100,
        300,
        500,
        5_000,
        whole.len() - 20,
        whole.len() - 1,
    ] {
        let cut = &whole.as_bytes()[..end];
        let answer = stream(cut).await;
        assert!(
            matches!(answer, Err(Error::Invalid { .. })),
            "{end}: {answer:?}"
        );
    }
    let bomb =
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><config>&b;</config>";
    let twice = format!("{whole}{whole}");
    for text in [
        "no xml",
        "<html></html>",
        "{}",
        "\0\0\0",
        "<config></config>",
        bomb,
        &twice,
    ] {
        let answer = stream(text.as_bytes()).await;
        assert!(
            matches!(answer, Err(Error::Invalid { .. })),
            "{text:.40}: {answer:?}"
        );
    }
    let mut bytes = whole.into_bytes();
    bytes[600] = 0xff;
    assert!(matches!(stream(&bytes).await, Err(Error::Invalid { .. })));
}

/// A file of 4 GB that takes no room on the disk.
fn endless(start: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "one/.backup", start.as_bytes());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("one/.backup"))
        .unwrap();
    file.set_len(4_000_000_000).unwrap();
    dir
}

#[tokio::test]
async fn texts_and_tags_without_an_end_do_not_fill_memory() {
    for start in [
        "<config><version>1</version><uuid>u",
        "<config",
        "<!--",
        "<![CDATA[",
        "<!DOCTYPE x [",
        "<?xml ",
    ] {
        let dir = endless(start);
        let answer = folder_view(dir.path()).manifest("one").await.map(|_| ());
        assert!(
            matches!(answer, Err(Error::Invalid { .. })),
            "{start}: {answer:?}"
        );
        let answer = folder_view(dir.path()).head("one").await;
        assert!(
            matches!(answer, Err(Error::Invalid { .. })),
            "{start}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_million_files_pass_through_in_constant_memory() {
    let files = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("one")).unwrap();
    let file = std::fs::File::create(dir.path().join("one/.backup")).unwrap();
    let mut writer = std::io::BufWriter::new(file);
    use std::io::Write as _;
    write!(
        writer,
        "<config><version>1</version><uuid>u</uuid><contents>"
    )
    .unwrap();
    for number in 0..files {
        write!(writer, "<file><name>data/d/t/all_{number}/x.bin</name><size>{number}</size><checksum>{number:032x}</checksum></file>").unwrap();
    }
    write!(writer, "</contents></config>").unwrap();
    writer.flush().unwrap();
    let mut reader = folder_view(dir.path()).manifest("one").await.unwrap();
    let (mut count, mut bytes) = (0, 0);
    while let Some(file) = reader.next().await.unwrap() {
        (count, bytes) = (count + 1, bytes + file.size);
    }
    assert_eq!((count, bytes), (files, files * (files - 1) / 2));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = header_in(&bytes);
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    /// Whole manifests with a piece taken out, put in or changed.
    #[test]
    fn damaged_manifests_are_answered(at in 0_usize..14_000, length in 0_usize..200, with in "[<>/a-z&;]{0,8}") {
        let mut text = fixture("inc1");
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &with);
        if let Ok((_, files)) = parse(&text) {
            for file in &files {
                prop_assert!(file.base_size <= file.size);
                let _ = file.object();
            }
        }
    }

    #[test]
    fn what_was_written_is_read(names in proptest::collection::vec("[A-Za-z0-9_%./-]{1,60}", 0..20), size in any::<u64>()) {
        let files: String = names
            .iter()
            .map(|name| format!("<file><name>{name}</name><size>{size}</size><checksum>{size:032x}</checksum></file>"))
            .collect();
        let text = format!("<config>\n<version>1</version><uuid>u</uuid><contents>{files}</contents></config>\n");
        let (_, found) = parse(&text).unwrap();
        prop_assert_eq!(found.len(), names.len());
        for (file, name) in found.iter().zip(&names) {
            prop_assert_eq!(&file.name, name);
            prop_assert_eq!(file.size, size);
        }
    }
}
