package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the tests work with, made once: the loader as it is deployed, plugins, and a server.
var (
	directory string
	loader    string
	server    string
)

// Less than the limits after which whatever hangs is ended, and more than anything here takes on a machine that is busy.
const soon = 25 * time.Second

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if directory, err = os.MkdirTemp("", "loader-test-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(directory)
		loader, server = at("loader"), at("server")
		build("go", "build", "-trimpath", "-o", loader, ".")
		for _, name := range []string{"good", "faults", "hooks"} {
			build("go", "build", "-trimpath", "-buildmode=plugin", "-o", at(name+".so"), "./testdata/"+name)
		}
		compiler := cmp.Or(os.Getenv("CC"), "cc")
		build(compiler, "-O1", "-o", server, "../tests/servers/server.c")
		build(compiler, "-O1", "-shared", "-fPIC", "-o", at("c.so"), "../tests/plugins/hooks.c")
		return m.Run()
	}())
}

func at(name string) string { return filepath.Join(directory, name) }

func build(words ...string) {
	if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %v\n%s", words, err, output))
	}
}

// event is a line that was read.
type event map[string]any

// show gives the values of some fields, as one line; `a.0.b` goes into objects and lists.
func (e event) show(paths ...string) string {
	var shown []string
	for _, path := range paths {
		var value any = map[string]any(e)
		for key := range strings.SplitSeq(path, ".") {
			switch inside := value.(type) {
			case map[string]any:
				found := false
				if value, found = inside[key]; !found {
					return fmt.Sprintf("no %s in %v", path, e)
				}
			case []any:
				index := 0
				if _, err := fmt.Sscan(key, &index); err != nil || index >= len(inside) {
					return fmt.Sprintf("no %s in %v", path, e)
				}
				value = inside[index]
			}
		}
		if value == nil {
			value = "-"
		}
		shown = append(shown, fmt.Sprint(value))
	}
	return strings.Join(shown, " ")
}

// parse reads events, each on a line, without those that announce what comes: they have a test of their own.
func parse(t *testing.T, output []byte) []event {
	t.Helper()
	return slices.DeleteFunc(parseAll(t, output), func(e event) bool {
		return e["event"] == "opening" || e["event"] == "starting"
	})
}

// parseAll reads events, each on a line.
func parseAll(t *testing.T, output []byte) []event {
	t.Helper()
	var events []event
	decoder := json.NewDecoder(bytes.NewReader(output))
	decoder.UseNumber()
	for decoder.More() {
		var next event
		if err := decoder.Decode(&next); err != nil {
			t.Fatalf("%v in %s", err, output)
		}
		if next.show("schema") != "1" {
			t.Errorf("another schema: %v", next)
		}
		events = append(events, next)
	}
	if lines := bytes.Count(output, []byte("\n")); lines != len(events) {
		t.Errorf("%d events on %d lines", len(events), lines)
	}
	return events
}

// events runs the loader, which must succeed, and gives its events without the last, which must be `end`.
func events(t *testing.T, words ...string) []event {
	t.Helper()
	var stderr strings.Builder
	command := exec.Command(loader, words...)
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v: %s", words, err, stderr.String())
	}
	events := parse(t, output)
	if len(events) == 0 || events[len(events)-1].show("event") != "end" {
		t.Fatalf("%v: no end: %s", words, output)
	}
	return events[:len(events)-1]
}

func expect(t *testing.T, seen, expected string, about ...any) {
	t.Helper()
	if seen != expected {
		t.Errorf("%q, not %q %v", seen, expected, about)
	}
}

// checkPlugin opens one plugin with flags and checks outcome, phase, symbol, status, signal and leftover processes.
func checkPlugin(t *testing.T, name, flags, expected string) event {
	t.Helper()
	return checkPluginWith(t, name, strings.Fields(flags), expected)
}

// checkPluginWith is the same for flags of which the values can have spaces.
func checkPluginWith(t *testing.T, name string, flags []string, expected string) event {
	t.Helper()
	words := append([]string{"open"}, flags...)
	seen := events(t, append(words, "--", at(name))...)
	if len(seen) != 1 {
		t.Fatalf("%v", seen)
	}
	expect(t, seen[0].show("event", "path"), "plugin "+at(name))
	expect(t, seen[0].show("outcome", "phase", "symbol", "status", "signal_name", "leftover_processes"), expected, seen[0])
	return seen[0]
}

func TestAPluginThatKeepsItsContractIsLoaded(t *testing.T) {
	flags := `--flags now --scope global --keep-open --symbol Version --symbol Wrap
		--call Name --returns string
		--call Typed --returns string
		--call Greet --arg-string Wörld --returns string
		--call Handler --arg-string it --returns string
		--call Add --arg-integer -40 --arg-integer -2 --returns integer
		--call Small --arg-integer -128 --returns int32
		--call Unsigned --arg-integer 65535 --returns integer
		--call Both --arg-string sides --returns string
		--call Greet --arg-string unseen
		--call Run --call Succeed`
	seen := checkPlugin(t, "good.so", flags, "loaded - - 0 - 0")
	for i, expected := range []string{
		"Name string good false -",
		"Typed string a type of its own false -",
		"Greet string hello, Wörld false -",
		"Handler string handled it false -",
		"Add integer -42 false -",
		"Small int32 128 false -",
		"Unsigned integer 255 false -",
		"Both string both sides false -",
		"Greet none - false -",
		"Run none - false -",
		"Succeed none - false -",
	} {
		call := fmt.Sprintf("calls.%d.", i)
		expect(t, seen.show(call+"symbol", call+"type", call+"returned", call+"lossy", call+"problem"), expected)
	}
	expect(t, seen.show("message", "missing"), "- []")
}

func TestWhatACallGivesIsChecked(t *testing.T) {
	for flags, expected := range map[string]string{
		"Fail": "it is not configured",
		"Both --arg-string nobody --returns string": "nobody is not known",
		"NotUTF8 --returns string":                  "returned text that is not UTF-8",
		"Long --returns string":                     "returned a string of more than 65536 bytes",
		"Huge --returns integer":                    "returned 18446744073709551615, which is no signed integer of 64 bits",
		"Name --returns integer":                    "`Name` is func() string, which does not return an integer",
		"Run --returns string":                      "`Run` is func(), which does not return a string",
		"Name --arg-string x --returns string":      "`Name` is func() string, which does not take 1 arguments",
		"Small --arg-integer 128":                   "`Small` is func(int8) int, which does not take what is given as argument 1",
		"Unsigned --arg-integer -1":                 "`Unsigned` is func(uint16) uint8, which does not take what is given as argument 1",
		"Greet --arg-integer 1":                     "`Greet` is func(string) string, which does not take what is given as argument 1",
		"Wrap":                                      "not callable: `Wrap` is func(func()) func()",
		"Join":                                      "not callable: `Join` is func(...string) string",
		"Version --returns string":                  "not callable: `Version` is a variable of type string",
		"Nothing --returns string":                  "not callable: `Nothing` is nil",
	} {
		symbol, _, _ := strings.Cut(flags, " ")
		seen := checkPlugin(t, "good.so", "--call "+flags+" --call Name --returns string", "call-failed call "+symbol+" 0 - 0")
		expect(t, seen.show("message", "calls.0.problem"), expected+" "+expected)
		expect(t, seen.show("calls.1.returned"), "good", "the next call is made all the same")
	}
	seen := checkPlugin(t, "good.so", "--call NotUTF8 --returns string", "call-failed call NotUTF8 0 - 0")
	expect(t, seen.show("calls.0.returned", "calls.0.lossy"), "caf\ufffd true")
}

func TestEveryMissingSymbolIsNamed(t *testing.T) {
	flags := "--symbol Nmae --symbol Name --symbol Nmae --call Great --call Name"
	seen := checkPlugin(t, "good.so", flags, "symbol-missing symbol Nmae 0 - 0")
	expect(t, seen.show("missing", "calls"), "[Nmae Great] []")
	if message := seen.show("message"); !strings.Contains(message, "plugin: symbol Nmae not found in plugin") {
		t.Error(message)
	}
}

func TestATypeIsComparedWithTheContracts(t *testing.T) {
	checkFlags := func(flags []string, expected, message string) {
		t.Helper()
		seen := checkPluginWith(t, "good.so", flags, expected)
		expect(t, seen.show("message", "missing", "calls"), message+" [] []")
	}
	checkFlags([]string{"--symbol", "Version", "--type", "*string", "--symbol", "Both", "--type", "func(string) (string, error)"},
		"loaded - - 0 - 0", "-")
	checkFlags([]string{"--symbol", "Name", "--symbol", "Version", "--type", "*int", "--call", "Name"},
		"type-differs symbol Version 0 - 0", "interface conversion: plugin.Symbol is *string, not *int")
	// A variable that holds a function is none.
	checkFlags([]string{"--symbol", "Handler", "--type", "func(string) string"},
		"type-differs symbol Handler 0 - 0", "interface conversion: plugin.Symbol is *func(string) string, not func(string) string")
}

func TestWhatCannotBeLoadedIsSaidInTheLoadersWords(t *testing.T) {
	if err := os.WriteFile(at("text.so"), bytes.Repeat([]byte("no shared object\n"), 9), 0o644); err != nil {
		t.Fatal(err)
	}
	build("go", "build", "-buildmode=plugin", "-o", at("paths.so"), "./testdata/hooks")
	opened := func(name string) string { return `plugin.Open("` + at(name) + `"): ` }
	for name, words := range map[string][]string{
		// glibc's words, then musl's.
		"text.so": {
			opened("text.so") + at("text.so") + ": invalid ELF header",
			opened("text.so") + "Error loading shared library " + at("text.so") + ": Exec format error",
		},
		"nowhere.so": {opened("nowhere.so") + "realpath failed"},
		"paths.so":   {opened("paths") + "plugin was built with a different version of package "},
	} {
		seen := checkPlugin(t, name, "--symbol Name", "not-loadable open - 0 - 0")
		message := seen.show("message")
		if !slices.ContainsFunc(words, func(beginning string) bool { return strings.HasPrefix(message, beginning) }) {
			t.Errorf("%s: %s", name, message)
		}
	}
	seen := checkPlugin(t, "c.so", "", "crashed open - - SIGABRT 0")
	expect(t, seen.show("message"), "fatal error: runtime: no plugin module data")
}

func TestCrashesNameTheSignalAndTheWords(t *testing.T) {
	for flags, expected := range map[string]string{
		"Panic":                    "SIGABRT panic: out of order",
		"PanicElsewhere":           "SIGABRT panic: out of sight",
		"NilPointer":               "SIGSEGV panic: runtime error: invalid memory address or nil pointer dereference",
		"Overflow --arg-integer 0": "SIGABRT fatal error: stack overflow",
		"MapRace":                  "SIGABRT fatal error: concurrent map writes",
		"Signal --arg-integer 11":  "SIGSEGV SIGSEGV: segmentation violation",
		"Signal --arg-integer 9":   "SIGKILL -",
		"CCrash":                   "SIGSEGV SIGSEGV: segmentation violation",
		"CAbort":                   "SIGABRT SIGABRT: abort",
	} {
		symbol, _, _ := strings.Cut(flags, " ")
		signal, words, _ := strings.Cut(expected, " ")
		started := time.Now()
		seen := checkPlugin(t, "faults.so", "--call Name --returns string --call "+flags, "crashed call "+symbol+" - "+signal+" 0")
		expect(t, seen.show("message"), words)
		expect(t, seen.show("calls.0.returned"), "faults", "what came before is not lost")
		if elapsed := time.Since(started); elapsed > soon {
			t.Errorf("%s took %v", symbol, elapsed)
		}
	}
	seen := checkPlugin(t, "hooks.so", "--env AT_OPEN=panic", "crashed open - - SIGABRT 0")
	expect(t, seen.show("message"), "panic: cannot be initialised")
}

func TestAPluginThatEndsTheProcessIsNotLoaded(t *testing.T) {
	checkPlugin(t, "faults.so", "--call Exit --arg-integer 0", "exited call Exit 0 - 0")
	checkPlugin(t, "faults.so", "--call Exit --arg-integer 2", "exited call Exit 2 - 0")
	checkPlugin(t, "faults.so", "--call CExit --arg-integer 0", "exited call CExit 0 - 0")
	checkPlugin(t, "hooks.so", "--env AT_OPEN=exit", "exited open - 0 - 0")
}

func TestLatenessIsEndedAndPlaced(t *testing.T) {
	for _, symbol := range []string{"Hang", "Spin"} {
		checkPlugin(t, "faults.so", "--timeout-ms 400 --call "+symbol, "timed-out call "+symbol+" - - 0")
	}
	checkPlugin(t, "hooks.so", "--timeout-ms 400 --env AT_OPEN=hang", "timed-out open - - - 0")
}

func TestOutputIsKeptApartAndLimited(t *testing.T) {
	seen := checkPlugin(t, "faults.so", "--call Chatter", "loaded - - 0 - 0")
	expect(t, seen.show("stdout.text", "stderr.text", "stderr.lossy"), "to stdout\n panic: not really\n\ufffd true")
	seen = checkPlugin(t, "faults.so", "--output-limit-bytes 1000 --call Flood --arg-integer 500000", "loaded - - 0 - 0")
	expect(t, seen.show("stdout.bytes", "stdout.truncated"), "32000010 true")
	if tail := seen.show("stdout.tail"); !strings.HasSuffix(tail, "\nlast line\n") {
		t.Error(tail)
	}
}

func TestWhatMeddlesWithTheProcessIsSurvived(t *testing.T) {
	started := time.Now()
	checkPlugin(t, "faults.so", "--call LeaveBehind", "loaded - - 0 - 1")
	if elapsed := time.Since(started); elapsed > soon {
		t.Errorf("that took %v", elapsed)
	}
	seen := checkPlugin(t, "faults.so", "--call CloseEverything", "exited call CloseEverything 117 - 0")
	expect(t, seen.show("message"), "the loader ended: the plugin closed the channel on which it reports")
}

func TestEachPluginIsToldOfInOrderWhateverTheOthersDo(t *testing.T) {
	seen := events(t, "open", "--symbol", "Name", at("c.so"), at("good.so"), at("nowhere.so"), at("hooks.so"), at("good.so"))
	var outcomes []string
	for _, event := range seen {
		outcomes = append(outcomes, event.show("outcome"))
	}
	expect(t, fmt.Sprint(outcomes), "[crashed loaded not-loadable loaded loaded]")
}

func TestEachPluginIsAnnounced(t *testing.T) {
	output, err := exec.Command(loader, "open", at("hooks.so"), at("good.so")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, event := range parseAll(t, output) {
		seen = append(seen, event.show("event"))
		if event.show("event") != "end" {
			seen = append(seen, filepath.Base(event.show("path")))
		}
	}
	expect(t, strings.Join(seen, " "), "opening hooks.so plugin hooks.so opening good.so plugin good.so end")
}

// exit is what checkCommand compares.
var exit = []string{"event", "status", "signal_name", "stopped_by", "stdout.text"}

func TestACommandIsToldWithAllItPrinted(t *testing.T) {
	for script, expected := range map[string]string{
		"echo out; echo err >&2; exit 3": "exit 3 - itself out\n",
		"kill -SEGV $$":                  "exit - SIGSEGV itself ",
		"cat":                            "exit 0 - itself ",
		"printf %s $A":                   "exit 0 - itself 2",
	} {
		seen := events(t, "drive", "--env", "A=1", "--env", "A=2", "--", "sh", "-c", script)
		expect(t, seen[0].show(exit...), expected, seen)
	}
	// Signals that the loader holds back or ignores must not be inherited.
	mask := "while read name value; do case $name in SigBlk:|SigIgn:) printf '%s ' ${value#?????????};; esac; done </proc/self/status"
	expect(t, events(t, "drive", "--", "sh", "-c", mask)[0].show(exit...), "exit 0 - itself 0000000 0000000 ")
}

func TestACommandThatCannotBeStartedIsToldWhy(t *testing.T) {
	if err := os.WriteFile(at("no-interpreter"), []byte("#!/nowhere/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("not-executable"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, cause := range map[string]string{
		"/nowhere/greeter":   "no such file or directory",
		"no-such-program":    "no such file or directory",
		at("no-interpreter"): "no such file or directory; the file is there, its interpreter is not",
		at("not-executable"): "permission denied",
	} {
		seen := events(t, "drive", "--", name)
		expect(t, seen[0].show("event", "message"), fmt.Sprintf("not-started failed to start `%s`: %s", name, cause))
	}
}

func TestWhatACommandLeavesBehindIsEnded(t *testing.T) {
	started := time.Now()
	script := "(sleep 600; echo never) & (setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' &) ; echo done"
	seen := events(t, "drive", "--", "sh", "-c", script)[0]
	expect(t, seen.show(exit...), "exit 0 - itself done\n")
	if seen.show("leftover_processes") < "2" {
		t.Error(seen)
	}
	seen = events(t, "drive", "--timeout-ms", "400", "--", "sh", "-c", "trap '' TERM; echo up; sleep 600; sleep 600")[0]
	expect(t, seen.show(exit...), "exit - SIGKILL timeout up\n")
	if elapsed := time.Since(started); elapsed > soon {
		t.Errorf("that took %v", elapsed)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// serve gives a server's events; PORT in the flags stands for its port.
func serve(t *testing.T, flags, manners string) ([]event, string) {
	t.Helper()
	port := freePort(t)
	words := append([]string{"drive"}, strings.Fields(strings.ReplaceAll(flags, "PORT", port))...)
	words = append(words, "--", server, port)
	return events(t, append(words, strings.Fields(manners)...)...), port
}

func TestAServerIsAwaitedAskedAndStopped(t *testing.T) {
	flags := `--ready-http http://127.0.0.1:PORT/healthz --request GET /hello?name=World
		--request POST /echo --header X-Case:Kept --header Host:example --body Grüße
		--request GET /chunked --request GET /until-close --request HEAD /nowhere
		--request GET http://localhost:PORT/binary`
	seen, port := serve(t, flags, "listen-after-ms 100 unhealthy 2 stop-status 4")
	if len(seen) != 8 {
		t.Fatalf("%v", seen)
	}
	expect(t, seen[0].show("event"), "ready")
	url := "http://127.0.0.1:" + port
	expect(t, seen[1].show("event", "index", "method", "url", "status", "body.text"), "response 0 GET "+url+"/hello?name=World 200 hello, World")
	expect(t, seen[1].show("headers"), "map[content-length:[12] content-type:[text/plain] x-plugin:[a b]]")
	echo := seen[2].show("body.text")
	for _, part := range []string{"POST /echo HTTP/1.1\r\n", "\r\nX-Case: Kept\r\n", "\r\nHost: example\r\n", "\r\nContent-Length: 7\r\n", "\r\n\r\nGrüße"} {
		if !strings.Contains(echo, part) {
			t.Errorf("no %q in %q", part, echo)
		}
	}
	expect(t, seen[3].show("body.text"), "hello, chunks")
	expect(t, seen[4].show("body.text"), "until the connection is closed")
	expect(t, seen[5].show("method", "status", "body.text"), "HEAD 404 ")
	expect(t, seen[6].show("body.text", "body.lossy"), "\ufffd\ufffd true")
	expect(t, seen[7].show(exit...), "exit 4 - stop-signal listening on "+port+"\nstopping\n")
}

func TestAServerThatNeverIsReadyIsToldApart(t *testing.T) {
	flags := "--ready-http http://127.0.0.1:PORT/healthz --request GET /hello"
	seen, port := serve(t, flags, "exit-before-ready 9")
	expect(t, seen[0].show("event", "reason"), "not-ready exited")
	if message := seen[0].show("message"); message != "failed to connect to 127.0.0.1:"+port+": connection refused" {
		t.Error(message)
	}
	expect(t, seen[1].show("status", "stopped_by", "stderr.text"), "9 itself cannot read the configuration\n")

	seen, port = serve(t, "--ready-timeout-ms 400 "+flags, "unhealthy 1000000")
	expect(t, seen[0].show("event", "reason", "message"), "not-ready timed-out http://127.0.0.1:"+port+"/healthz answered with status 503")
	expect(t, seen[1].show(exit[:4]...), "exit 0 - stop-signal")

	seen, _ = serve(t, "--ready-timeout-ms 300 --ready-stdout never", "")
	expect(t, seen[0].show("reason", "message"), "timed-out `never` was not printed")
}

func TestFailedRequestsLeaveTheOthersAlone(t *testing.T) {
	free := freePort(t)
	flags := `--ready-stdout listening --request-timeout-ms 400 --output-limit-bytes 1000
		--request GET http://127.0.0.1:PORT/drop --request GET http://127.0.0.1:PORT/huge
		--request GET http://127.0.0.1:PORT/noise --request GET http://127.0.0.1:FREE/
		--request GET http://127.0.0.1:PORT/healthz --request GET http://127.0.0.1:PORT/slow`
	seen, _ := serve(t, strings.ReplaceAll(flags, "FREE", free), "")
	if len(seen) != 8 {
		t.Fatalf("%v", seen)
	}
	expect(t, seen[1].show("index", "message"), "0 failed to read the response: the connection was closed within the body")
	expect(t, seen[2].show("status", "body.text", "body.truncated"), "200 "+strings.Repeat("x", 1000)+" true")
	expect(t, seen[3].show("status", "body.text"), "200 noisy")
	expect(t, seen[4].show("message"), "failed to connect to 127.0.0.1:"+free+": connection refused")
	expect(t, seen[5].show("status", "body.text"), "200 ok")
	expect(t, seen[6].show("index", "message"), "5 failed to read the response: no body in time")
	expect(t, seen[7].show(exit[:4]...), "exit 0 - stop-signal")
}

func TestServersThatDieOrDoNotStopAreTold(t *testing.T) {
	seen, _ := serve(t, "--ready-tcp PORT --request GET /crash --request GET /healthz", "")
	expect(t, seen[1].show("event", "index"), "request-failed 0")
	expect(t, seen[2].show("event", "message"), "request-failed not sent: the server has ended")
	expect(t, seen[3].show(exit[:4]...), "exit - SIGABRT itself")

	seen, _ = serve(t, "--ready-tcp PORT --stop-timeout-ms 200", "ignore-term")
	expect(t, seen[1].show(exit[:4]...), "exit - SIGKILL stop-timeout")
	seen, _ = serve(t, "--ready-tcp PORT --stop-signal INT", "ignore-term")
	expect(t, seen[1].show(exit[:4]...), "exit 0 - stop-signal")

	seen, _ = serve(t, "--ready-tcp PORT --timeout-ms 400 --request GET /slow --request GET /healthz", "")
	expect(t, seen[2].show("message"), "not sent: 400 ms were over")
}

func TestTheLoaderEndsWhenAskedTo(t *testing.T) {
	port := freePort(t)
	for _, words := range [][]string{
		{"open", "--env", "AT_OPEN=hang", at("hooks.so"), at("hooks.so")},
		{"drive", "--", "sh", "-c", "trap '' TERM; echo up; exec sleep 600"},
		{"drive", "--ready-tcp", port, "--request", "GET", "/slow", "--", server, port},
	} {
		var stdout bytes.Buffer
		command := exec.Command(loader, words...)
		command.Stdout = &stdout
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		started := time.Now()
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		// Its status is looked at below.
		_ = command.Wait()
		if elapsed := time.Since(started); elapsed > soon {
			t.Errorf("%v took %v", words, elapsed)
		}
		expect(t, fmt.Sprint(command.ProcessState.ExitCode()), "143", words)
		seen := parse(t, stdout.Bytes())
		expect(t, seen[len(seen)-1].show("event", "signal_name"), "interrupted SIGTERM")
		if words[0] == "drive" {
			expect(t, seen[len(seen)-2].show("event", "stopped_by"), "exit interrupt")
		}
	}
}

func TestUsageVersionAndAClosedOutput(t *testing.T) {
	var stderr strings.Builder
	command := exec.Command(loader, "open", "--symbols", "x")
	command.Stderr = &stderr
	output, _ := command.Output()
	expect(t, fmt.Sprint(command.ProcessState.ExitCode())+string(output), "2")
	expect(t, stderr.String(), "error[usage]: unknown flag `--symbols`\nhint: `lockstep-loader help` lists commands and flags\n")

	output, err := exec.Command(loader, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, parse(t, output)[0].show("event", "loader", "version"), "version go "+version)

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	stderr.Reset()
	command = exec.Command(loader, "open", at("good.so"))
	command.Stdout, command.Stderr = full, &stderr
	_ = command.Run()
	expect(t, fmt.Sprint(command.ProcessState.ExitCode()), "70")
	if !strings.Contains(stderr.String(), "failed to write to standard output") {
		t.Error(stderr.String())
	}
}

// stepsEvents gives the events of steps, each a command line of its own.
func stepsEvents(t *testing.T, lines ...[]string) []event {
	t.Helper()
	words := []string{"steps"}
	for _, line := range lines {
		words = append(append(words, fmt.Sprint(len(line))), line...)
	}
	return events(t, words...)
}

// names are those of events.
func names(seen []event) string {
	var all []string
	for _, event := range seen {
		all = append(all, event.show("event"))
	}
	return strings.Join(all, " ")
}

func TestAStepHasWhatTheOnesBeforeItLeft(t *testing.T) {
	directory := t.TempDir()
	seen := stepsEvents(t,
		[]string{"--stdin", "Grüße\nan alle\n", "--status", "0", "--", "sh", "-c", "cat > " + directory + "/text"},
		[]string{"--directory", directory, "--", "sh", "-c", "pwd; cat text"})
	expect(t, names(seen), "step exit step exit")
	expect(t, seen[2].show("index"), "1")
	expect(t, seen[3].show(exit...), "exit 0 - itself "+directory+"\nGrüße\nan alle\n")
}

func TestNoStepIsBegunThatLacksWhatItNeeds(t *testing.T) {
	for line, expected := range map[string]string{
		"--status 3 -- sh -c exit\t3":    "step exit step exit",
		"-- sh -c exit\t3":               "step exit step exit",
		"--status 0 -- sh -c exit\t3":    "step exit",
		"--timeout-ms 100 -- sleep 60":   "step exit",
		"-- /nowhere/initdb":             "step not-started",
		"--ready-stdout up -- true":      "step not-ready exit",
		"--directory /nowhere -- ./true": "step not-started",
	} {
		words := strings.Split(line, " ")
		expect(t, names(stepsEvents(t, words, []string{"--", "true"})), expected, line)
	}
	leaves := []string{"--", "sh", "-c", "(setsid sh -c 'trap \"\" TERM; sleep 600' &); sleep 0.1"}
	seen := stepsEvents(t, leaves, []string{"echo", "done"})
	if seen[1].show("leftover_processes") < "1" {
		t.Error(seen)
	}
	expect(t, seen[3].show(exit...), "exit 0 - itself done\n")
	seen = events(t, "drive", "--directory", "/nowhere", "--", "true")
	expect(t, seen[0].show("message"), "failed to start `"+truePath(t)+"` in `/nowhere`: no such file or directory")
}

func truePath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAClientRunsBesideTheServer(t *testing.T) {
	port, started := freePort(t), time.Now()
	seen := events(t, "drive", "--ready-tcp", port,
		"--client", "6", "--env", "A=1", "--", "sh", "-c", "printf %s \"$A\"; echo no >&2; exit 4",
		"--request", "GET", "/healthz",
		"--client", "4", "--stdin", "asked", "--", "cat",
		"--client", "5", "--timeout-ms", "100", "--", "sleep", "60",
		// Of its group nothing stays, and nothing holds its output.
		"--client", "4", "--", "sh", "-c", "sleep 60 & echo left",
		"--client", "1", "no-such-client",
		"--request", "GET", "/crash",
		"--client", "1", "true",
		"--", server, port)
	if elapsed := time.Since(started); elapsed > soon {
		t.Errorf("that took %v", elapsed)
	}
	expect(t, names(seen), "ready client response client client client client-failed request-failed client-failed exit")
	client := []string{"index", "status", "signal_name", "stopped_by", "stdout.text", "stderr.text"}
	expect(t, seen[1].show(client...), "0 4 - itself 1 no\n")
	expect(t, seen[3].show(client...), "2 0 - itself asked ")
	expect(t, seen[4].show(client[:4]...), "3 - SIGKILL timeout")
	expect(t, seen[5].show(client...), "4 0 - itself left\n ")
	expect(t, seen[6].show("index", "message"), "5 failed to start `no-such-client`: no such file or directory")
	expect(t, seen[8].show("index", "message"), "7 not started: the server has ended")
	expect(t, seen[9].show(exit[:4]...), "exit - SIGABRT itself")
}
