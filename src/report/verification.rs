//! What `verify` prints for people: a line for each unit, and for what differs the cause, the place and what ends it.

use std::fmt::Write as _;
use std::str::FromStr as _;

use console::style;

use super::comparison::part;
use crate::counted::counted;
use crate::digest::Digest;
use crate::printable::printable;
use crate::verify::{
    ArtifactDifference, Cause, Manner, Verification, VerifiedEnvironment, VerifiedImage, VerifiedUnit,
};

/// How many parts of an artifact are told one by one; scripts get them all.
const PARTS_SHOWN_COUNT: usize = 6;
/// How many lines of a compile that failed are shown.
const TAIL_SHOWN_LINES: usize = 12;

/// What came of a verification, for people.
#[must_use]
pub fn render_verification(verification: &Verification) -> String {
    let on_other = verification.engine.as_deref();
    let on_other = on_other.map(|engine| format!(", and on {}", printable(engine)));
    let mut text = format!(
        " {} · against {}: compiled again as it was, and with {}{}\n",
        style(printable(verification.project.as_str())).bold(),
        printable(&verification.against),
        counted(verification.variations.len(), "variation"),
        on_other.unwrap_or_default()
    );
    for environment in &verification.environments {
        text.push('\n');
        render_environment(&mut text, environment);
    }
    let units = verification
        .environments
        .iter()
        .flat_map(|environment| &environment.units);
    let (all, differing) = units.fold((0, 0), |(all, differing), unit| {
        (all + 1, differing + usize::from(!unit.equal))
    });
    let images = || {
        verification
            .environments
            .iter()
            .flat_map(|environment| &environment.images)
    };
    let remade = images().filter(|image| image.remade.is_some()).count();
    let others = images().filter(|image| !image.equal).count();
    let mut parts = Vec::new();
    if others > 0 || remade > 0 && differing == 0 {
        parts.push(match others {
            0 => counted(remade, "image"),
            others => format!("{others} of {}", counted(images().count(), "image")),
        });
    }
    if differing > 0 || others == 0 {
        parts.push(match differing {
            0 => counted(all, "unit"),
            differing => format!("{differing} of {}", counted(all, "unit")),
        });
    }
    let verdict = if differing + others == 0 {
        "100 % equal"
    } else {
        "not reproducible"
    };
    let _ = writeln!(text, "\n {verdict}: {}", parts.join(", "));
    text
}

fn render_environment(text: &mut String, environment: &VerifiedEnvironment) {
    let _ = writeln!(text, " {}", style(&environment.name).bold());
    let width = environment
        .units
        .iter()
        .map(|unit| unit.name.as_str().len())
        .max()
        .unwrap_or(0);
    for image in &environment.images {
        render_image(text, image);
    }
    for unit in &environment.units {
        render_unit(text, unit, width);
    }
    for (variation, why) in &environment.not_varied {
        let line = format!("not varied: {variation}, because {why}");
        let _ = writeln!(text, "   {}", style(printable(&line)).dim());
    }
}

fn render_image(text: &mut String, image: &VerifiedImage) {
    let short = |id: &str| Digest::from_str(id).map_or_else(|_| id.to_owned(), |digest| digest.short());
    let role = format!("{} image", image.role);
    let _ = match (&image.remade, image.equal) {
        (Some(id), true) => writeln!(
            text,
            "   {role:<13}  {}  made again: {}",
            style("equal").green(),
            short(id)
        ),
        (None, true) => writeln!(text, "   {role:<13}  {}", style("not made again").dim()),
        (remade, false) => {
            let remade = remade.as_ref().map(|id| format!(" -> {}", short(id)));
            writeln!(
                text,
                "   {role:<13}  {}  {}{}",
                style("differs").red().bold(),
                printable(&short(&image.expected)),
                remade.unwrap_or_default()
            )
        }
    };
    for line in &image.details {
        let _ = writeln!(text, "       {}", printable(line));
    }
}

fn render_unit(text: &mut String, unit: &VerifiedUnit, width: usize) {
    let names: Vec<String> = unit
        .artifacts
        .iter()
        .map(|artifact| printable(&artifact.name).into_owned())
        .collect();
    let verdict = match unit.equal {
        true => style("equal").green(),
        false => style("differs").red().bold(),
    };
    let _ = writeln!(
        text,
        "   {:<width$}  {verdict}  {}",
        unit.name.as_str(),
        names.join(", ")
    );
    for cause in &unit.causes {
        render_cause(text, cause);
    }
}

fn render_cause(text: &mut String, cause: &Cause) {
    let kind = cause.kind.map(|kind| format!("{}: ", kind.word())).unwrap_or_default();
    let variations = cause.variations.join(" with ");
    let what = match (cause.manner, cause.variations.is_empty(), &cause.failure) {
        (Manner::Varied, _, Some(failure)) => format!("does not compile with another {variations}: {}", failure.end),
        (Manner::Varied, _, None) => format!("another {variations} gives other bits"),
        (Manner::BuildToBuild, false, _) => format!("differs from build to build; not while {variations} is held"),
        (Manner::BuildToBuild, true, _) => "differs from build to build, whatever is held".to_owned(),
        (Manner::OtherEngine, _, Some(failure)) => format!("does not compile on the other engine: {}", failure.end),
        (Manner::OtherEngine, _, None) => "the other engine gives other bits".to_owned(),
        (Manner::Elsewhere, ..) => "is always the same here, and was another one there".to_owned(),
    };
    let _ = writeln!(text, "     {}", style(printable(&format!("{kind}{what}"))).bold());
    for artifact in &cause.artifacts {
        render_artifact(text, artifact);
    }
    if let Some(failure) = &cause.failure {
        let skipped = failure.tail.len().saturating_sub(TAIL_SHOWN_LINES);
        for line in failure.tail.iter().skip(skipped) {
            let _ = writeln!(text, "       {}", style(printable(line)).dim());
        }
        if let Some(log) = &failure.log {
            let _ = writeln!(text, "       --> {}", printable(log));
        }
    }
    if let Some(cure) = cause.cure {
        let _ = writeln!(text, "       hint: {}", printable(cure));
    }
}

fn render_artifact(text: &mut String, artifact: &ArtifactDifference) {
    let _ = writeln!(text, "       {}", printable(&artifact.name));
    for one in artifact.parts.iter().take(PARTS_SHOWN_COUNT) {
        let _ = writeln!(text, "       {}", printable(&part(one)));
    }
    let more = artifact.parts.len().saturating_sub(PARTS_SHOWN_COUNT);
    if more > 0 {
        let _ = writeln!(text, "         and {more} more");
    }
    if let Some(page) = &artifact.page {
        let _ = writeln!(text, "         --> {}", printable(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::PartDifference;
    use crate::name::{EnvironmentName, ProjectName, UnitName};
    use crate::verify::{Kind, VARIATIONS, VerifiedArtifact};

    fn unit(name: &str, causes: Vec<Cause>) -> VerifiedUnit {
        VerifiedUnit {
            name: UnitName::new(name).unwrap(),
            equal: causes.is_empty(),
            artifacts: vec![VerifiedArtifact {
                name: format!("{name}.so"),
                expected: None,
                rebuilt: Digest::of(b""),
            }],
            causes,
        }
    }

    #[test]
    fn what_differs_is_told_with_its_cause_its_place_and_what_ends_it() {
        let part = PartDifference {
            part: ".rodata".to_owned(),
            a: Some("Nov 30 2026".to_owned()),
            b: Some("Jan 04 2028".to_owned()),
            symbols: vec!["when".to_owned()],
            more_symbols: 0,
        };
        let cause = Cause {
            manner: Manner::Varied,
            variations: vec!["time-of-day"],
            kind: Some(Kind::Date),
            artifacts: vec![ArtifactDifference {
                name: "broken.so".to_owned(),
                parts: vec![part],
                page: None,
            }],
            failure: None,
            cure: Some("take another date"),
        };
        let verification = Verification {
            schema_version: 1,
            project: ProjectName::new("tool").unwrap(),
            against: "lockstep.lock".to_owned(),
            engine: None,
            equal: false,
            variations: VARIATIONS.iter().map(|variation| (*variation).into()).collect(),
            environments: vec![VerifiedEnvironment {
                name: EnvironmentName::new("glibc").unwrap(),
                equal: false,
                build_image: String::new(),
                images: vec![],
                rebuilds: 9,
                not_varied: [("kernel".to_owned(), "there is no setarch".to_owned())].into(),
                units: vec![unit("good", vec![]), unit("broken", vec![cause])],
            }],
        };
        let text = render_verification(&verification);
        let expected = " tool · against lockstep.lock: compiled again as it was, and with 18 variations

 glibc
   good    equal  good.so
   broken  differs  broken.so
     date: another time-of-day gives other bits
       broken.so
         .rodata  Nov 30 2026 -> Jan 04 2028  in when
       hint: take another date
   not varied: kernel, because there is no setarch

 not reproducible: 1 of 2 units
";
        assert_eq!(console::strip_ansi_codes(&text), expected);
    }
}
