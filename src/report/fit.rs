//! Lines that fit a terminal: what is longer goes on in the next line, behind the margin of the first.

use console::measure_text_width;

/// In narrower terminals lines are as wide as this, and the terminal breaks them.
const MINIMUM_COLUMNS: usize = 40;
/// How lines begin, and what stands before what follows.
const MARGINS: [(&str, &str); 5] = [
    ("  --> ", "      "),
    ("   |  ", "   |    "),
    ("   +  ", "        "),
    ("  hint: ", "        "),
    ("  = ", "    "),
];
/// What stands before what follows any other line.
const MARGIN: &str = "    ";

/// Breaks lines between words. A word is never broken: it may be a path that somebody copies.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    let columns = columns.max(MINIMUM_COLUMNS);
    let mut fitted = String::with_capacity(text.len());
    for line in text.lines() {
        let (start, margin) = MARGINS
            .iter()
            .find(|(start, _)| line.starts_with(start))
            .copied()
            .unwrap_or(("", MARGIN));
        fitted.push_str(start);
        let mut width = start.len();
        for (place, word) in line[start.len()..].split(' ').enumerate() {
            let word_width = measure_text_width(word);
            let is_first = place == 0;
            if !is_first && width + 1 + word_width > columns {
                fitted.push('\n');
                fitted.push_str(margin);
                width = margin.len();
            } else if !is_first {
                fitted.push(' ');
                width += 1;
            }
            fitted.push_str(word);
            width += word_width;
        }
        fitted.push('\n');
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn what_is_too_long_goes_on_behind_its_margin() {
        let check = |text: &str, expected: &str| assert_eq!(fit(text, 40), expected, "{text}");
        check("short\n\n  --> a\n", "short\n\n  --> a\n");
        check(
            "danger[code]: a title that is longer than the line has room for\n",
            "danger[code]: a title that is longer\n    than the line has room for\n",
        );
        check(
            "   |  searched: /one/directory, /another/directory, /third\n",
            "   |  searched: /one/directory,\n   |    /another/directory, /third\n",
        );
        check(
            "  hint: do this and that, and then something else\n",
            "  hint: do this and that, and then\n        something else\n",
        );
        let path = "/a/path/that/is/longer/than/the/whole/line/is/and/not/broken";
        check(&format!("  --> {path}\n"), &format!("  --> {path}\n"));
        check(
            "\u{1b}[1mbold\u{1b}[0m has no width of its own in it but now\n",
            "\u{1b}[1mbold\u{1b}[0m has no width of its own in it but\n    now\n",
        );
    }
}
