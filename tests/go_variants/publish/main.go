// Publishes directories as modules, in the form in which a module proxy serves them from files:
// publish PROXY (DIRECTORY MODULE VERSION)…
package main

import (
	"archive/zip"
	"os"
	"path/filepath"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	for rest := os.Args[2:]; len(rest) >= 3; rest = rest[3:] {
		directory, module, version := rest[0], rest[1], rest[2]
		target := filepath.Join(os.Args[1], module, "@v")
		must(os.MkdirAll(target, 0o755))
		mod, err := os.ReadFile(filepath.Join(directory, "go.mod"))
		must(err)
		must(os.WriteFile(filepath.Join(target, version+".mod"), mod, 0o644))
		must(os.WriteFile(filepath.Join(target, version+".info"), []byte(`{"Version":"`+version+`"}`), 0o644))
		out, err := os.Create(filepath.Join(target, version+".zip"))
		must(err)
		archive := zip.NewWriter(out)
		files, err := os.ReadDir(directory)
		must(err)
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(directory, file.Name()))
			must(err)
			entry, err := archive.Create(module + "@" + version + "/" + file.Name())
			must(err)
			_, err = entry.Write(content)
			must(err)
		}
		must(archive.Close())
		must(out.Close())
	}
}
