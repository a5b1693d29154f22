//! `lockstep completions` and `lockstep man` from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

fn lockstep(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = assert_cmd::Command::cargo_bin("lockstep")
        .unwrap()
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_shell_has_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (status, script, _) = lockstep(&["completions", shell]);
        assert_eq!(status, Some(0), "{shell}");
        for command in lockstep::cli::command().get_subcommands() {
            assert!(
                script.contains(command.get_name()),
                "{shell} lacks {}",
                command.get_name()
            );
        }
    }
    assert_eq!(lockstep(&["completions", "dos"]).0, Some(2));
}

#[test]
fn bash_takes_its_completions() {
    let (_, script, _) = lockstep(&["completions", "bash"]);
    let check = assert_cmd::Command::new("bash")
        .args(["-n"])
        .write_stdin(script)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn every_command_has_a_page() {
    let (status, page, _) = lockstep(&["man"]);
    assert_eq!(status, Some(0));
    assert!(page.contains(".TH lockstep 1") && page.contains("Exit codes"), "{page}");
    for command in lockstep::cli::command().get_subcommands() {
        let (status, page, _) = lockstep(&["man", command.get_name()]);
        assert_eq!(status, Some(0));
        assert!(
            page.contains(&format!(".TH lockstep-{} 1", command.get_name())),
            "{page}"
        );
    }
    let (status, page, _) = lockstep(&["man", "image", "diff"]);
    assert!(
        status == Some(0) && page.contains(".TH lockstep-image-diff 1"),
        "{page}"
    );
    assert_eq!(lockstep(&["man", "image", "nothing"]).0, Some(2));
    let (status, _, said) = lockstep(&["man", "nothing"]);
    assert!(status == Some(2) && said.contains("hint: there are: "), "{said}");
}
