package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// sharedCases are lines of a file that both loaders are tested with, in their fields.
func sharedCases(t *testing.T, name string) [][]string {
	t.Helper()
	content, err := os.ReadFile("../tests/shared/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var cases [][]string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "#") {
			cases = append(cases, strings.Split(line, "\t"))
		}
	}
	if len(cases) == 0 {
		t.Fatalf("no cases in %s", name)
	}
	return cases
}

func TestWhatIsWrongWithACommandLineIsNamed(t *testing.T) {
	for _, fields := range sharedCases(t, "usage.txt") {
		_, err := parseArguments(strings.Fields(fields[0]))
		if err == nil || err.Error() != fields[1] || usageHint(err) == "" {
			t.Errorf("%s: %v, not %s", fields[0], err, fields[1])
		}
	}
	for line, expect := range map[string]string{
		"open --type int x.so":                         "`--type` must follow a `--symbol`",
		"open --symbol A --type *int --type *int x.so": "the type of `A` is given twice",
		"open --after a.so x.so":                       "unknown flag `--after`",
		"open --flags lazy x.so":                       "`--flags` cannot be `lazy`: Go opens plugins with `now` and `global`",
		"open --scope local x.so":                      "`--scope` cannot be `local`: Go opens plugins with `now` and `global`",
	} {
		if _, err := parseArguments(strings.Fields(line)); err == nil || err.Error() != expect {
			t.Errorf("%s: %v, not %s", line, err, expect)
		}
	}
}

func TestAPluginProcessGetsTheSameFlags(t *testing.T) {
	flags := strings.Fields("--flags now --scope global --symbol A --type *int --call B --arg-string -x --arg-integer -7 --returns string --env A=b=c --timeout-ms 5 --user 7:8 --scratch /a --scratch /b")
	for _, separator := range [][]string{nil, {"--"}} {
		words := slices.Concat([]string{"open"}, flags, separator, []string{"x.so", "y.so"})
		asked, err := parseArguments(words)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(asked.open.flags, flags) || !slices.Equal(asked.open.plugins, []string{"x.so", "y.so"}) {
			t.Errorf("%v became %+v", words, asked.open)
		}
		if *asked.open.user != (user{7, 8}) || !slices.Equal(asked.open.scratch, []string{"/a", "/b"}) {
			t.Errorf("%v became %+v", words, asked.open)
		}
		one, err := parseArguments(slices.Concat([]string{"open-one"}, asked.open.flags, []string{"--", "y.so"}))
		if err != nil {
			t.Fatal(err)
		}
		expect := "{y.so [A] map[A:*int] [{B [{false 0 -x} {true -7 }] string}]}"
		if seen := fmt.Sprint(*one.openOne); seen != expect {
			t.Errorf("%s, not %s", seen, expect)
		}
	}
}

func TestAServerHasDefaults(t *testing.T) {
	asked, err := parseArguments(strings.Fields("drive --ready-stdout up --timeout-ms 20000 -- serve"))
	if err != nil {
		t.Fatal(err)
	}
	s := asked.drive.server
	seen := fmt.Sprint(s.readyTimeout, s.requestTimeout, s.stopSignal, s.stopTimeout, asked.drive.outputLimitBytes)
	if expect := "20s 20s terminated 5s 262144"; seen != expect {
		t.Errorf("%s, not %s", seen, expect)
	}
}

func TestURLsStayOnThisMachine(t *testing.T) {
	for _, fields := range sharedCases(t, "urls.txt") {
		seen := ""
		if url, err := parseURL(fields[0]); err != nil {
			seen = err.Error()
		} else {
			seen = fmt.Sprintf("%v %v", url, url.address)
		}
		if seen != fields[1] {
			t.Errorf("%s: %s, not %s", fields[0], seen, fields[1])
		}
	}
}

func readWhole(method string, content []byte, pieces func(io.Reader) io.Reader) string {
	response, err := readResponse(pieces(bytes.NewReader(content)), method, 64)
	if err != nil {
		return "error " + strings.TrimPrefix(err.Error(), "failed to read the response: ")
	}
	var headers []string
	for name, values := range response.headers {
		headers = append(headers, name+"="+strings.Join(values, "|"))
	}
	slices.Sort(headers)
	mark := ""
	if response.body.isTruncated() {
		mark = "…"
	}
	return fmt.Sprintf("ok %d [%s] %s%s", response.status, strings.Join(headers, " "), response.body.head, mark)
}

func TestResponsesAreReadOrRefused(t *testing.T) {
	for _, fields := range sharedCases(t, "responses.txt") {
		content := []byte(strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(fields[1]))
		for _, pieces := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader,
		} {
			if seen := readWhole(fields[0], content, pieces); seen != fields[2] {
				t.Errorf("%s: %s, not %s", fields[1], seen, fields[2])
			}
		}
	}
	for content, expect := range map[string]string{
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70_000):  "error more than 65519 bytes of headers",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 300): "error more than 256 lines of headers",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9):      "error more than 8 responses of interim responses",
	} {
		if seen := readWhole("GET", []byte(content), iotest.HalfReader); seen != expect {
			t.Errorf("%s, not %s", seen, expect)
		}
	}
}

func TestAResponseCutAnywhereIsAnErrorAndAnyDamageIsSurvived(t *testing.T) {
	whole := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	for length := range whole {
		if seen := readWhole("GET", whole[:length], iotest.OneByteReader); !strings.HasPrefix(seen, "error ") {
			t.Errorf("cut after %d: %s", length, seen)
		}
		for _, damage := range []byte{0, '\n', '\r', ' ', ':', '0', 'f', 0xff} {
			damaged := bytes.Clone(whole)
			damaged[length] = damage
			// Both an error and another response are right; a panic or an endless loop is not.
			if readWhole("GET", damaged, iotest.OneByteReader) == "" {
				t.Errorf("nothing was said of %q", damaged)
			}
		}
	}
}

func TestEventsHaveTheShapesThatBothLoadersShare(t *testing.T) {
	content, err := os.ReadFile("../tests/shared/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	captured := func(text string) textEvent {
		c := captureStream(1024)
		c.push([]byte(text))
		return c.event()
	}
	lossy, isLossy := shownText("sh\xffut")
	asked := asked{1, "GET", urlOfPort(8080).String(), 2}
	body := captureHead(64)
	body.push([]byte("hi"))
	events := []any{
		pluginEvent{
			header: newHeader("plugin"), Path: "/p/x.so", Outcome: outcomeCrashed, Phase: optional(phaseCall),
			Symbol: optional("plugin_greet"), Missing: []string{"plugin_gone"},
			endingEvent: newEndingEvent(&ending{signal: syscall.SIGSEGV}),
			Calls: []returnedEvent{
				{"plugin_name", returnsString, lossy, isLossy, optional("returned text that is not UTF-8")},
				{"plugin_count", returnsInt32, -1, false, nil},
				{"plugin_run", returnsNone, nil, false, nil},
			},
			LeftoverProcesses: 1, ElapsedMs: 3, Stdout: captured(""), Stderr: captured(""),
		},
		pluginEvent{
			header: newHeader("plugin"), Path: "/p/y.so", Outcome: outcomeLoaded, Missing: []string{},
			endingEvent: newEndingEvent(&ending{}), Calls: []returnedEvent{},
			Stdout: captured(""), Stderr: captured("<wörds> & \"more\"\n\u2028"),
		},
		exitEvent{
			header: newHeader("exit"), endingEvent: newEndingEvent(&ending{status: 3}), StoppedBy: stoppedBySignal,
			ElapsedMs: 12, Stdout: captured("HELLO, WORLD\n"), Stderr: captured(""),
		},
		responseEvent{
			newHeader("response"), asked, 200,
			map[string][]string{"x-twice": {"a", "b"}, "content-type": {"text/plain"}}, body.event(),
		},
		requestFailedEvent{newHeader("request-failed"), asked, "failed to connect"},
		messageEvent{newHeader("not-started"), "failed to start `x`"},
		readyEvent{newHeader("ready"), 3, 40},
		notReadyEvent{newHeader("not-ready"), "exited", nil, 40},
		notReadyEvent{newHeader("not-ready"), "timed-out", optional("refused"), 40},
		openingEvent{newHeader("opening"), "/p/x.so"},
		newHeader("starting"),
		messageEvent{newHeader("unclean"), "files in /tmp"},
		newInterruptedEvent(syscall.SIGTERM),
		newErrorEvent(fmt.Errorf("no")),
		newHeader("end"),
		stepEvent{newHeader("step"), 1},
		clientEvent{
			header: newHeader("client"), Index: 1, endingEvent: newEndingEvent(&ending{}), StoppedBy: stoppedByItself,
			ElapsedMs: 12, Stdout: captured("(1 row)\n"), Stderr: captured(""),
		},
		clientFailedEvent{newHeader("client-failed"), 1, "failed to start `x`"},
	}
	var seen bytes.Buffer
	out := &printer{&seen}
	for _, event := range events {
		if err := out.print(event); err != nil {
			t.Fatal(err)
		}
	}
	if seen.String() != string(content) {
		t.Errorf("\n%s, not\n%s", seen.String(), content)
	}
}

// All that the loader tells of a plugin that keeps a contract, and the contract.
func wholeTestimony() ([]record, *contract) {
	c := &contract{symbols: []string{"A", "B", "A"}, types: map[string]string{"A": "*int"}, calls: []call{{symbol: "B", returns: returnsNone}, {symbol: "C", returns: returnsInteger}}}
	return []record{
		{Phase: phaseOpen},
		{Phase: phaseSymbol, Symbol: "A"},
		{Phase: phaseSymbol, Symbol: "B"},
		{Phase: phaseSymbol, Symbol: "C"},
		{Phase: phaseCall, Symbol: "B"},
		{Returned: &returnedEvent{Symbol: "B", Type: returnsNone}},
		{Phase: phaseCall, Symbol: "C"},
		{Returned: &returnedEvent{Symbol: "C", Type: returnsInteger, Returned: json.Number("7")}},
		{Done: true},
		{Phase: phaseExit},
	}, c
}

func TestWhatTheLoaderTellsIsBelievedAndNothingElse(t *testing.T) {
	whole, c := wholeTestimony()
	text := "no"
	refused := []record{whole[0], {NotLoadable: &text}, whole[8], whole[9]}
	missing := slices.Concat(whole[:2], []record{{Missing: &symbolRecord{"A", "no A"}}}, whole[2:4], whole[8:])
	differing := slices.Concat(whole[:2], []record{{Differs: &symbolRecord{"A", "no *int"}}}, whole[2:4], whole[8:])
	for _, records := range [][]record{whole, refused, missing, differing} {
		if told := hear(records, true, c); !told.isWhole || told.isBroken {
			t.Errorf("%+v is not believed: %+v", records, told)
		}
	}
	for length := range whole {
		if told := hear(whole[:length], true, c); told.isWhole || told.isBroken {
			t.Errorf("a part of %d: %+v", length, told)
		}
		if told := hear(slices.Delete(slices.Clone(whole), length, length+1), true, c); told.isWhole {
			t.Errorf("without %d: %+v", length, told)
		}
		if told := hear(slices.Insert(slices.Clone(whole), length, whole[length]), true, c); !told.isBroken {
			t.Errorf("%d twice: %+v", length, told)
		}
		for other := length + 1; other < len(whole); other++ {
			exchanged := slices.Clone(whole)
			exchanged[length], exchanged[other] = exchanged[other], exchanged[length]
			if told := hear(exchanged, true, c); !told.isBroken {
				t.Errorf("%d and %d exchanged: %+v", length, other, told)
			}
		}
	}
	untyped := slices.Concat(whole[:3], []record{{Differs: &symbolRecord{"B", "no *int"}}}, whole[3:4], whole[8:])
	if !hear(untyped, true, c).isBroken {
		t.Error("the contract names no type of what has another one")
	}
	if hear(whole, false, c).isWhole {
		t.Error("more followed that is no record")
	}
	problem := "seven"
	for _, wrong := range []returnedEvent{
		{Symbol: "B", Type: returnsInteger, Returned: json.Number("7")},
		{Symbol: "C", Type: returnsString, Returned: "7"},
		{Symbol: "C", Type: returnsInteger, Returned: "7"},
		{Symbol: "C", Type: returnsInteger, Returned: json.Number("7.5")},
		{Symbol: "C", Type: returnsInteger, Returned: []any{}},
		{Symbol: "C", Type: returnsInteger},
		{Symbol: "C", Type: returnsInteger, Returned: json.Number("7"), Problem: &problem},
	} {
		records := slices.Clone(whole)
		records[7] = record{Returned: &wrong}
		if !hear(records, true, c).isBroken {
			t.Errorf("%+v is believed", wrong)
		}
	}
	long := strings.Repeat("x", recordTextLimitBytes+1)
	for _, wrong := range []record{{NotLoadable: &long}, {NotLoadable: &text, Done: true}, {Symbol: "A"}, {}} {
		if !hear([]record{whole[0], wrong}, true, c).isBroken {
			t.Errorf("%+v is believed", wrong)
		}
	}
}

func TestRecordsAreReadUntilTheyAreNone(t *testing.T) {
	for text, expect := range map[string]string{
		"":                             "0 true",
		`{"Done":true}` + "\n":         "1 true",
		`{"Done":true}{"Done":`:        "1 false",
		`{"Done":true}{"Gone":true}`:   "1 false",
		`{"Phase":"open"}` + "\x00":    "1 false",
		`{"Returned":{"Symbol":[]}}`:   "0 false",
		`{"Phase":"open"} {"Done":1e}`: "1 false",

		`{"Done":true}{"Done":true}`:              "2 true",
		`{"Done":true}{"Done":true}{"Done":true}`: "2 false",
	} {
		records, isAll := decodeRecords([]byte(text), 2)
		if seen := fmt.Sprint(len(records), isAll); seen != expect {
			t.Errorf("%s: %s, not %s", text, seen, expect)
		}
	}
}

func TestScratchIsClearedAndSeenUntilThen(t *testing.T) {
	directory, beside := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.MkdirAll(directory+"/a/b", 0o755),
		os.WriteFile(directory+"/a/b/file", nil, 0o644),
		os.WriteFile(beside+"/file", nil, 0o644),
		os.Symlink(beside, directory+"/link"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	directories := []string{directory}
	if seen := remains(directories); !strings.Contains(seen, "files in "+directory) {
		t.Error(seen)
	}
	clearAll(directories)
	if seen := remains(directories); strings.Contains(seen, "files in") {
		t.Error(seen)
	}
	if _, err := os.Stat(beside + "/file"); err != nil {
		t.Error("what a link leads to is not in the directory")
	}
	if seen := remains(nil); seen != "" {
		t.Error(seen)
	}
}

func TestCapturesKeepBothEnds(t *testing.T) {
	content := make([]byte, 40_000)
	for i := range content {
		content[i] = byte(i % 251)
	}
	whole := captureStream(1000)
	whole.push(content)
	for _, size := range []int{1, 7, 999, 1000, 1001, 8192, 20_000} {
		c := captureStream(1000)
		for piece := range slices.Chunk(content, size) {
			c.push(piece)
		}
		if !bytes.Equal(c.head, whole.head) || !bytes.Equal(c.tail, whole.tail) || c.bytes != whole.bytes {
			t.Errorf("pieces of %d make a difference", size)
		}
	}
	if !bytes.Equal(whole.head, content[:1000]) || !bytes.Equal(whole.tail, content[len(content)-tailLimitBytes:]) {
		t.Error("these are not the ends")
	}
	for limit := range 12 {
		c := captureStream(limit)
		c.push([]byte("aé€🌍z"))
		if event := c.event(); event.Lossy || !utf8.ValidString(event.Text) {
			t.Errorf("a cut after %d bytes is called lossy: %+v", limit, event)
		}
	}
	c := captureStream(8)
	c.push([]byte("cut \xc3"))
	if event := c.event(); !event.Lossy || event.Truncated || event.Tail != nil {
		t.Errorf("%+v", event)
	}
}

func TestLastWordsAreFound(t *testing.T) {
	for stderr, expect := range map[string]string{
		"":                       " 0",
		"goroutine 1 [running]:": " 0",
		"panic: boom\n\ngoroutine 1 [running]:\n":                                      "panic: boom 0",
		"panic: runtime error: nil\n[signal SIGSEGV: segmentation violation code=1]\n": "panic: runtime error: nil 11",
		"fatal error: unexpected signal\n[signal SIGBUS: bus error]\n":                 "fatal error: unexpected signal 7",
		"SIGABRT: abort\nPC=0x1 m=0\n":                                                 "SIGABRT: abort 6",
		"panic: said by the plugin\nfatal error: all goroutines are asleep\n":          "fatal error: all goroutines are asleep 0",
		"SIGBUS: bus error\nPC=0x1 m=0\n-----\nSIGQUIT: quit\nPC=0x2 m=1\n":            "SIGBUS: bus error 7",
		"  panic: indented\n": " 0",
	} {
		c := captureStream(1024)
		c.push([]byte(stderr))
		words, cause := lastWords(c)
		if seen := fmt.Sprintf("%s %d", words, int(cause)); seen != expect {
			t.Errorf("%q: %s, not %s", stderr, seen, expect)
		}
	}
}

func TestProcessNamesDoNotConfuse(t *testing.T) {
	for stat, expect := range map[string]string{
		"7 (cat) S 3 7 7 0":      "S 3 true",
		"7 (a) Z 1 (b) R 42 7 7": "R 42 true",
		"":                       " 0 false",
		"7 cat S 3":              " 0 false",
		"7 (cat) S":              " 0 false",
	} {
		state, parent, ok := parseStat(stat)
		if seen := fmt.Sprint(state, " ", parent, " ", ok); seen != expect {
			t.Errorf("%s: %s, not %s", stat, seen, expect)
		}
	}
}

func TestSignalsHaveNames(t *testing.T) {
	for number, name := range signalNames {
		if seen, ok := parseSignal(name[3:]); !ok || seen != number || signalName(number) != name {
			t.Errorf("%s is not %d", name, number)
		}
	}
	if _, ok := parseSignal("SIGSIGTERM"); ok || signalName(34) != "SIG34" {
		t.Error("names are made up")
	}
}

func TestBothLoadersHaveOneVersion(t *testing.T) {
	manifest, err := os.ReadFile("../Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(manifest, []byte("\nversion = \""+version+"\"\n")) {
		t.Errorf("the other loader's version is not %s", version)
	}
}
