//! The rows of a case, for people and for programs.

use std::fmt::Write;

use crate::harness::Row;

/// One object a row.
pub(crate) fn objects(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row {
        area,
        case,
        subject,
        unit,
        value,
        min,
        allocs,
    } in rows
    {
        writeln!(
            text,
            "{{\"area\":\"{area}\",\"case\":\"{case}\",\"subject\":\"{subject}\",\"unit\":\"{}\",\
             \"value\":{value},\"min\":{min},\"allocs\":{allocs}}}",
            unit.name()
        )
        .expect("a string takes any text");
    }
    text
}

/// A table, with the ratio of each peer's minimum to ours.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else {
        return text;
    };
    let ours = rows.iter().find(|row| row.subject == "evenkeel");
    writeln!(
        text,
        "\n{:<40}{:>12}{:>12}{:>9}{:>14}",
        format!("{} {} ({})", first.area, first.case, first.unit.name()),
        "median",
        "min",
        "allocs",
        "min to ours"
    )
    .expect("a string takes any text");
    for row in rows {
        let ratio = ours.filter(|ours| ours.subject != row.subject && ours.min > 0.0);
        let ratio = ratio.map_or(String::new(), |ours| {
            format!("{}x", figure(row.min / ours.min))
        });
        let line = format!(
            "  {:<38}{:>12}{:>12}{:>9}{ratio:>14}",
            row.subject,
            figure(row.value),
            figure(row.min),
            figure(row.allocs)
        );
        writeln!(text, "{}", line.trim_end()).expect("a string takes any text");
    }
    text
}

/// Three digits that matter, or more before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}
