package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// What a plugin can leave where the next one would find it: files in directories that everybody may write to, and what
// System V's calls make, which lasts longer than any process.

// systemVTables list messages, semaphores and shared memory of this IPC namespace, each below a line of headings (proc(5)).
var systemVTables = []string{"/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sysvipc/shm"}

// remains says what is still there, for people; nothing when the next plugin finds nothing. Without directories nothing is
// looked at.
func remains(directories []string) string {
	if len(directories) == 0 {
		return ""
	}
	var found []string
	for _, directory := range directories {
		if !isEmpty(directory) {
			found = append(found, "files in "+directory)
		}
	}
	for _, table := range systemVTables {
		if content, err := os.ReadFile(table); err == nil && strings.Count(string(content), "\n") > 1 {
			found = append(found, "objects in "+table)
		}
	}
	return strings.Join(found, ", ")
}

func isEmpty(directory string) bool {
	opened, err := os.Open(directory)
	if err != nil {
		// An engine may have no such directory.
		return errors.Is(err, os.ErrNotExist)
	}
	defer opened.Close()
	_, err = opened.Readdirnames(1)
	return err == io.EOF
}

// clearAll removes all that is in these directories, as far as this process may: it is the one that made it. What it cannot
// remove is still there when remains looks.
func clearAll(directories []string) {
	for _, directory := range directories {
		entries, _ := os.ReadDir(directory)
		for _, entry := range entries {
			// Links are removed, and not followed.
			_ = os.RemoveAll(filepath.Join(directory, entry.Name()))
		}
	}
}
