//! The emptied server: what is suspect, what stops, and what an adoption releases.

use rstest::rstest;

use super::*;

fn day(number: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + number * 86_400).unwrap()
}

/// A backup of `daily` with so many tables; its bytes go with them.
fn night(number: i64, tables: u64) -> Backup {
    let made = day(number);
    Backup {
        tables: Some(tables),
        bytes: Some(tables * 1_000),
        ..backup(&format!("night-{number:03}"), slot_of("daily", made), made)
    }
}

fn nights(from: i64, tables: &[u64]) -> Vec<Backup> {
    (from..)
        .zip(tables)
        .map(|(number, tables)| night(number, *tables))
        .collect()
}

fn judged(new: &Backup, before: &[Backup], adoptions: &[Adoption]) -> Option<String> {
    let before: Vec<&Backup> = before.iter().collect();
    suspicion(new, &before, adoptions).map(|suspicion| suspicion.to_string())
}

#[rstest]
#[case::the_first_one(&[], 0, None)]
#[case::one_before_is_enough(&[10], 0, Some("0 tables, where 10 are usual"))]
#[case::half_is_enough(&[10], 5, None)]
#[case::less_than_half(&[11], 5, Some("5 tables, where 11 are usual"))]
#[case::growth(&[10], 100, None)]
#[case::the_median_of_two_is_between(&[10, 20], 7, Some("7 tables, where 15 are usual"))]
#[case::one_big_night_says_nothing(&[10, 10, 1_000, 10, 10], 8, None)]
#[case::the_last_seven(&[100, 100, 100, 100, 100, 100, 100, 4, 4, 4, 4], 2, None)]
#[case::six_small_of_seven(&[100, 100, 100, 100, 4, 4, 4], 2, Some("2 tables, where 100 are usual"))]
#[case::it_was_always_empty(&[0, 0, 0], 0, None)]
#[case::the_only_table(&[1], 0, Some("0 tables, where 1 are usual"))]
fn the_median_says_what_is_usual(
    #[case] before: &[u64],
    #[case] tables: u64,
    #[case] expected: Option<&str>,
) {
    let before = nights(0, before);
    let found = judged(&night(50, tables), &before, &[]);
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn bytes_are_compared_too_and_what_is_not_known_is_skipped() {
    let mut before = nights(0, &[10, 10]);
    let mut new = night(9, 10);
    new.bytes = Some(4_999);
    let expected = Some("4999 bytes, where 10000 are usual");
    assert_eq!(judged(&new, &before, &[]).as_deref(), expected);
    before[1].bytes = None;
    assert_eq!(judged(&new, &before, &[]).as_deref(), expected);
    before[0].bytes = None;
    assert_eq!(judged(&new, &before, &[]), None);
    new.tables = None;
    assert_eq!(judged(&new, &before, &[]), None);
}

#[test]
fn only_like_is_compared_with_like() {
    let mut other = night(1, 10);
    other.origin = slot_of("hourly", day(1));
    let mut by_hand = night(2, 10);
    by_hand.origin = Origin::Client;
    let mut structure = night(3, 10);
    structure.structure_only = true;
    let mut suspect = night(4, 10);
    suspect.suspect = Some(few());
    let later = night(10, 10);
    let before = [other, by_hand, structure, suspect, later];
    assert_eq!(judged(&night(9, 0), &before, &[]), None);
    let before = [night(1, 10)];
    let mut new = night(9, 0);
    assert!(judged(&new, &before, &[]).is_some());
    new.structure_only = true;
    assert_eq!(judged(&new, &before, &[]), None);
    new = night(9, 0);
    new.origin = Origin::Client;
    assert_eq!(judged(&new, &before, &[]), None);
}

/// Makes nights of so many tables, each judged as it is made.
fn live(history: &mut Vec<Backup>, adoptions: &[Adoption], tables: &[u64]) -> Vec<bool> {
    let from = i64::try_from(history.len()).unwrap();
    let mut marks = Vec::new();
    for (number, tables) in (from..).zip(tables) {
        let mut new = night(number, *tables);
        let before: Vec<&Backup> = history.iter().collect();
        new.suspect = suspicion(&new, &before, adoptions);
        marks.push(new.suspect.is_some());
        history.push(new);
    }
    marks
}

#[test]
fn a_hundred_nights_of_an_emptied_server_are_all_suspect() {
    let mut history = Vec::new();
    live(&mut history, &[], &[10; 20]);
    assert!(
        live(&mut history, &[], &[0; 100])
            .into_iter()
            .all(|mark| mark)
    );
}

#[test]
fn what_was_adopted_is_the_new_measure_at_once() {
    let mut history = Vec::new();
    live(&mut history, &[], &[1_000; 20]);
    assert_eq!(live(&mut history, &[], &[10, 10]), [true, true]);
    let mut adoptions = vec![adoption(day(21))];
    assert_eq!(live(&mut history, &adoptions, &[10, 10]), [false, false]);
    assert_eq!(
        live(&mut history, &adoptions, &[4]),
        [true],
        "small even by the new measure"
    );
    adoptions.push(adoption(day(24)));
    assert_eq!(
        live(&mut history, &adoptions, &[4, 4, 1]),
        [false, false, true]
    );
    // An adoption of something else changes no measure.
    adoptions.push(adoption(day(27)));
    adoptions.push(adoption(day(27)));
    assert_eq!(live(&mut history, &adoptions, &[1, 0]), [false, true]);
}

#[test]
fn an_adoption_holds_also_when_what_it_adopted_is_gone() {
    let mut history = Vec::new();
    live(&mut history, &[], &[1_000; 20]);
    live(&mut history, &[], &[10]);
    let adoptions = [adoption(day(20))];
    live(&mut history, &adoptions, &[10, 10]);
    history.remove(20);
    let before: Vec<&Backup> = history.iter().collect();
    assert_eq!(suspicion(&night(30, 10), &before, &adoptions), None);
    assert!(suspicion(&night(30, 1), &before, &adoptions).is_some());
}

#[test]
fn an_adoption_on_its_own_does_not_make_the_next_night_blind() {
    let mut history = Vec::new();
    live(&mut history, &[], &[1_000; 20]);
    let adoptions = [adoption(day(19))];
    assert_eq!(live(&mut history, &adoptions, &[0, 0]), [true, true]);
}

fn stops_of(backups: &[Backup], adoptions: &[Adoption], server: Option<u128>) -> Vec<String> {
    let rules = rules(
        Policy {
            keep_last: Some(1),
            ..Policy::default()
        },
        "UTC",
    );
    let plan = plan(&Situation {
        rules: &rules,
        backups: backups.iter().collect(),
        holds: &Holds::new(),
        adoptions,
        server: server.map(Uuid::from_u128),
        now: day(500),
    });
    let going = plan
        .lines
        .iter()
        .any(|line| line.verdict == Verdict::Remove);
    assert_eq!(
        plan.removals().next().is_some(),
        going && plan.stops.is_empty(),
        "nothing goes while there is a stop"
    );
    plan.stops.iter().map(ToString::to_string).collect()
}

#[test]
fn a_suspect_newest_one_stops_everything_until_it_is_adopted() {
    let mut backups = nights(0, &[10, 10, 10, 0]);
    backups[3].suspect = Some(few());
    let stops = stops_of(&backups, &[], Some(1));
    assert_eq!(
        stops,
        [
            "night-003 looks like the backup of an emptied server (0 tables, where 10 are usual): \
          nothing is removed until `clickhouse-backupd retention adopt` says that the change is meant"
        ]
    );
    assert!(stops_of(&backups, &[adoption(day(3))], Some(1)).is_empty());
    assert_eq!(
        stops_of(&backups, &[adoption(day(2))], Some(1)).len(),
        1,
        "before it"
    );
    backups.push(night(4, 10));
    assert!(
        stops_of(&backups, &[], Some(1)).is_empty(),
        "the server is itself again"
    );
}

#[test]
fn another_server_stops_everything_until_it_is_adopted() {
    let mut backups = nights(0, &[10, 10, 10]);
    assert!(stops_of(&backups, &[], Some(1)).is_empty());
    let stops = stops_of(&backups, &[], Some(2));
    assert!(stops[0].starts_with(
        "backups are made by server 00000000-0000-0000-0000-000000000002 where those of server \
         00000000-0000-0000-0000-000000000001 lie: nothing is removed until `clickhouse-backupd \
         retention adopt` says"
    ));
    backups[2].server = Some(Uuid::from_u128(2));
    assert_eq!(stops_of(&backups, &[], None).len(), 1);
    assert_eq!(
        stops_of(&backups, &[], Some(2)).len(),
        1,
        "the oldest says who is meant"
    );
    let both = Adoption {
        servers: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
        ..adoption(day(5))
    };
    assert!(stops_of(&backups, std::slice::from_ref(&both), Some(2)).is_empty());
    assert_eq!(stops_of(&backups, &[both], Some(3)).len(), 1);
    backups[0].server = None;
    backups[1].server = None;
    assert!(stops_of(&backups, &[], Some(2)).is_empty());
    assert!(
        stops_of(&[], &[], Some(2)).is_empty(),
        "nothing to compare with"
    );
}
