//! `edgescope config token`: a bearer token, and its line in the server's file.

use crate::show;
use anyhow::Context;
use edgescope_server::{Role, new_token};
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The secret alone goes to standard output, so that it can be sent into its file; the line for the server's file is in that file before.
pub fn run(role: Role, agent_ids: &[String], name: Option<&str>, add_to: Option<&Path>) -> anyhow::Result<()> {
    let token = new_token(role, agent_ids, name).map_err(|why| anyhow::anyhow!("no token was made: {why}"))?;
    match add_to {
        Some(file) => add_line(file, &token.line).with_context(|| format!("--add-to {}: no token was made", file.display()))?,
        None => eprintln!("# add this line to the file that server.tokens_file names:\n{}", token.line),
    }
    Ok(show::out(&format!("{}\n", token.secret))?)
}

/// Adds a line at a file's end, in one write: a server may read the file at any moment.
fn add_line(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let gap = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{gap}{line}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tokens_line_is_added_as_a_line_of_its_own_to_a_file_of_ones_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tokens");
        add_line(&file, "a").expect("made");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "a\n# mine").expect("written");
        add_line(&file, "b").expect("added");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "a\n# mine\nb\n");
        let error = run(Role::Agent, &[], None, Some(directory.path())).expect_err("a directory");
        assert!(format!("{error:#}").contains("no token was made"), "{error:#}");
    }
}
