//! The tables, in Markdown.

use crate::contest::{Against, Goal, Role, Score, Scored, Unit};

pub(crate) fn print(workloads: &[Scored], repetitions: usize) {
    println!("Medians of {repetitions}. Rates are per second and the ratio is how many times as");
    println!("fast Gesta is; lines in ms are the median time, the ratio is of times.\n");
    println!("| workload | Gesta | best peer | ratio | limit | ratio | goal | met? |");
    println!("|---|---:|---:|---:|---:|---:|---|---|");
    for workload in workloads {
        print_ratios(workload);
    }
    println!("\n| workload | who | median | min..max | p50 us | p99 us | note |");
    println!("|---|---|---:|---:|---:|---:|---|");
    for workload in workloads {
        workload.scores.iter().for_each(|score| print_score(workload, score));
    }
    let failed = workloads.iter().flat_map(|workload| {
        let failures =
            workload.scores.iter().filter_map(|score| Some((score, score.not_run.as_ref()?)));
        failures.map(move |(score, why)| (workload.name, &score.name, why))
    });
    for (workload, who, why) in failed {
        println!("\n*not run*: {workload}, {who}: {why}");
    }
}

/// One line for each way in which Gesta took part.
fn print_ratios(workload: &Scored) {
    for gesta in workload.scores.iter().filter(|score| score.role == Role::Gesta) {
        let peer = workload.best(Role::Peer);
        let limit = workload.first(Role::Limit);
        let wanted = gesta.goals.iter().map(|goal| wanted(goal, workload.unit));
        let wanted: Vec<_> = wanted.collect();
        let met: Vec<_> = gesta.goals.iter().map(|goal| met(workload, gesta, goal)).collect();
        println!(
            "| {}: {} | {} | {} | {} | {} | {} | {} | {} |",
            workload.name,
            gesta.name,
            figure(Some(gesta), workload.unit),
            named(peer, workload.unit),
            ratio_text(gesta, peer),
            named(limit, workload.unit),
            ratio_text(gesta, limit),
            wanted.join(", "),
            met.join(", "),
        );
    }
}

fn print_score(workload: &Scored, score: &Score) {
    let (Some(least), Some(most)) = (score.figures.first(), score.figures.last()) else {
        return println!("| {} | {} | *not run* | | | | |", workload.name, score.name);
    };
    println!(
        "| {} | {} | {} | {}..{} | {:.1} | {:.1} | {} |",
        workload.name,
        score.name,
        figure(Some(score), workload.unit),
        number(*least, workload.unit),
        number(*most, workload.unit),
        score.p50_us,
        score.p99_us,
        score.note,
    );
}

fn wanted(goal: &Goal, unit: Unit) -> String {
    let sign = match unit {
        Unit::PerSecond => ">=",
        Unit::Milliseconds => "<=",
    };
    match goal.against {
        Against::BestPeer => format!("{sign} {} of the peer", goal.bound),
        Against::Limit => format!("{sign} {} of the limit", goal.bound),
        Against::Nothing => format!("{sign} {}", number(goal.bound, unit)),
    }
}

fn met(workload: &Scored, gesta: &Score, goal: &Goal) -> &'static str {
    let reached = match goal.against {
        Against::BestPeer => ratio(gesta, workload.best(Role::Peer)),
        Against::Limit => ratio(gesta, workload.first(Role::Limit)),
        Against::Nothing => gesta.median(),
    };
    match (reached, workload.unit) {
        (None, _) => "*not run*",
        (Some(reached), Unit::PerSecond) if reached >= goal.bound => "yes",
        (Some(reached), Unit::Milliseconds) if reached <= goal.bound => "yes",
        _ => "**no**",
    }
}

fn ratio(gesta: &Score, other: Option<&Score>) -> Option<f64> {
    Some(gesta.median()? / other?.median()?)
}

fn ratio_text(gesta: &Score, other: Option<&Score>) -> String {
    ratio(gesta, other).map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

fn named(score: Option<&Score>, unit: Unit) -> String {
    score.map_or_else(String::new, |known| format!("{} ({})", figure(score, unit), known.name))
}

fn figure(score: Option<&Score>, unit: Unit) -> String {
    let median = score.and_then(Score::median);
    median.map_or_else(|| "*not run*".to_owned(), |median| number(median, unit))
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Milliseconds => format!("{value:.2} ms"),
        Unit::PerSecond => thousands(&format!("{value:.0}")),
    }
}

fn thousands(digits: &str) -> String {
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
