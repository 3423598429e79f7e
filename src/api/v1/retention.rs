//! What retention would do, and how callers see it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::backup::BackupKind;
use super::text::{BackupName, ScheduleName};
use crate::catalog::View;
use crate::retention as domain;

/// What would become of each backup now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionPlan {
    /// One line for each backup: by group, then newest first.
    pub lines: Vec<PlanLine>,
    /// Why nothing is removed now although lines say so; empty: they may go.
    pub stops: Vec<PlanStop>,
    /// Lines that say `remove`.
    pub removals: u64,
    /// Bytes that these would free, as far as they are known.
    pub freed_bytes: u64,
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanLine {
    /// The backup.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// With whom it is judged.
    pub group: PlanGroup,
    /// The schedule, where it is judged with the backups of one.
    #[schema(value_type = Option<ScheduleName>)]
    pub schedule: Option<String>,
    /// Whether it stands alone.
    pub kind: BackupKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// How long ago that is; 0 for one from the future.
    pub age_seconds: u64,
    /// Bytes that lie in the destination for it, where that is known.
    pub bytes_written: Option<u64>,
    /// Whether it stays.
    pub decision: Decision,
    /// Why, in words; never empty.
    pub reasons: Vec<String>,
}

/// Backups that are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanGroup {
    /// Those of one schedule.
    Schedule,
    /// Those that clients asked for.
    Manual,
    /// Those of others.
    Foreign,
}

/// Whether a backup stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// Why nothing at all is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStop {
    /// A word for programs.
    pub kind: StopKind,
    /// Why, and what can be done.
    pub message: String,
}

/// Kinds of stop, told apart by who can end them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// The newest backup of a group looks like that of an emptied server; `retention adopt` ends it.
    Suspect,
    /// Backups of more than one server lie there; `retention adopt` ends it.
    OtherServer,
    /// There is no `destination.url`.
    NoView,
    /// The disk keeps the names of its objects on the server's own disk.
    NamesOnServer,
    /// No manifest that this server wrote was read through the view yet.
    Unbound,
    /// The destination could not be listed.
    NotListed,
    /// What lies in the destination has not been read in yet.
    NotReadIn,
}

/// What is asked for with `POST /api/v1/retention/adopt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptRequest {
    /// Why, for whoever wonders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// A change that somebody has said is meant: suspect backups until then count as ordinary ones, and
/// backups of these servers belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Adoption {
    /// When.
    pub at: Timestamp,
    /// The user of the API who said so, where it has users.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The servers, by their `serverUUID()`.
    pub servers: Vec<Uuid>,
}

impl RetentionPlan {
    /// How callers see a plan of these backups at `now`.
    #[must_use]
    pub(in crate::api) fn of(plan: &domain::Plan, view: &View, now: Timestamp) -> Self {
        let lines: Vec<PlanLine> = plan
            .lines
            .iter()
            .filter_map(|line| PlanLine::of(line, view, now))
            .collect();
        let going = || {
            lines
                .iter()
                .filter(|line| line.decision == Decision::Remove)
        };
        Self {
            removals: going().count() as u64,
            freed_bytes: going()
                .filter_map(|line| line.bytes_written)
                .fold(0, u64::saturating_add),
            stops: plan.stops.iter().map(PlanStop::from).collect(),
            lines,
        }
    }
}

impl PlanLine {
    /// `None` for a backup that went between the making of the plan and this look.
    fn of(line: &domain::Line, view: &View, now: Timestamp) -> Option<Self> {
        let backup = view.record(&line.backup)?;
        let (group, schedule) = match &line.group {
            domain::Group::Schedule(name) => (PlanGroup::Schedule, Some(name.clone())),
            domain::Group::Manual => (PlanGroup::Manual, None),
            domain::Group::Foreign => (PlanGroup::Foreign, None),
        };
        let age = now.duration_since(backup.created_at).as_secs();
        Some(Self {
            backup: backup.name.to_string(),
            group,
            schedule,
            kind: backup.kind.into(),
            created_at: backup.created_at,
            age_seconds: u64::try_from(age).unwrap_or(0),
            bytes_written: backup.bytes_written,
            decision: line.verdict.into(),
            reasons: line.reasons.iter().map(ToString::to_string).collect(),
        })
    }
}

impl From<domain::Verdict> for Decision {
    fn from(verdict: domain::Verdict) -> Self {
        match verdict {
            domain::Verdict::Keep => Self::Keep,
            domain::Verdict::Remove => Self::Remove,
        }
    }
}

impl From<&domain::Stop> for PlanStop {
    fn from(stop: &domain::Stop) -> Self {
        Self {
            kind: match stop {
                domain::Stop::Suspect { .. } => StopKind::Suspect,
                domain::Stop::OtherServer { .. } => StopKind::OtherServer,
                domain::Stop::NoView => StopKind::NoView,
                domain::Stop::NamesOnServer => StopKind::NamesOnServer,
                domain::Stop::Unbound => StopKind::Unbound,
                domain::Stop::NotListed(_) => StopKind::NotListed,
                domain::Stop::NotReadIn => StopKind::NotReadIn,
            },
            message: stop.to_string(),
        }
    }
}

impl From<domain::Adoption> for Adoption {
    fn from(adoption: domain::Adoption) -> Self {
        Self {
            at: adoption.at,
            by: adoption.by,
            reason: adoption.reason,
            servers: adoption.servers,
        }
    }
}
