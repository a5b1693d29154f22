package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// For each plugin, and for a command, when nothing else is said.
	defaultTimeoutMilliseconds = 30_000
	// For a server to end after the stop signal, when nothing else is said.
	defaultStopTimeoutMilliseconds = 5_000
	// No wait is longer.
	timeoutLimitMilliseconds = 3_600_000
	// For each stream and body, when nothing else is said.
	defaultOutputLimitBytes = 256 * 1024
	// No stream or body keeps more.
	outputLimitLimitBytes = 64 * 1024 * 1024
	// The highest that a process can end with.
	statusLimit = 255
	// As many as the loader for dlopen can pass.
	callArgumentsLimitCount = 4
)

// invocation is what the loader was asked to do: one of the pointers, or one of the words.
type invocation struct {
	open    *openOptions
	openOne *contract
	drive   *driveOptions
	steps   []*driveOptions
	// The directories that a process empties.
	clear   []string
	version bool
	help    bool
}

// openOptions are the flags of `open`.
type openOptions struct {
	// The words before the plugins: what the process of each plugin is given too.
	flags            []string
	timeout          time.Duration
	outputLimitBytes int
	environment      []string
	// Who opens the plugins; nil for whoever this process is.
	user *user
	// Directories that are empty when a plugin is opened.
	scratch  []string
	contract *contract
	plugins  []string
}

// user is who a process is to be: a user and a group, and no other groups.
type user struct {
	uid, gid uint32
}

// contract says what plugins must have.
type contract struct {
	// The only plugin of a process that opens one.
	plugin  string
	symbols []string
	// The types of those that have to have one.
	types map[string]string
	calls []call
}

// distinctSymbols are all that are looked up, those of calls too, once and in that order.
func (c *contract) distinctSymbols() []string {
	distinct := slices.Clone(c.symbols)
	for _, call := range c.calls {
		distinct = append(distinct, call.symbol)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(distinct, func(name string) bool {
		isSeen := seen[name]
		seen[name] = true
		return isSeen
	})
}

// recordsLimitCount is how many records the loader tells of a plugin at most: two for each symbol and call, and four beside.
func (c *contract) recordsLimitCount() int {
	return 2*(len(c.distinctSymbols())+len(c.calls)) + 6
}

// call is a function of the plugin to call.
type call struct {
	symbol    string
	arguments []argument
	returns   string
}

// argument is what a function is given: a number, or text.
type argument struct {
	isInteger bool
	integer   int64
	text      string
}

// What a function gives back, by the names of the command line.
const (
	returnsNone    = "none"
	returnsString  = "string"
	returnsInteger = "integer"
	returnsInt32   = "int32"
)

// driveOptions are the flags of `drive`.
type driveOptions struct {
	command     []string
	environment []string
	// Who runs it; nil for whoever this process is.
	user             *user
	timeout          time.Duration
	outputLimitBytes int
	// Where it starts; empty for where this process is.
	directory string
	// What it reads on standard input; nil for nothing.
	stdin *string
	// The status without which no later step is begun; nil for any.
	status *int
	// None for a command that ends by itself.
	server *serverOptions
}

// question is what a server is asked: a request, or by a client, which is no server itself.
type question struct {
	request *httpRequest
	client  *driveOptions
}

// serverOptions say how a server is awaited, asked and stopped.
type serverOptions struct {
	ready          ready
	readyTimeout   time.Duration
	questions      []question
	requestTimeout time.Duration
	stopSignal     syscall.Signal
	stopTimeout    time.Duration
}

// ready says when a server is ready: when the URL answers with a status below 400, when the port accepts a connection,
// or when the text was printed.
type ready struct {
	http   *loopbackURL
	port   uint16
	stdout *string
}

// usageError is what is wrong with a command line, and what to do next.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

func usageHint(err error) string {
	var usage *usageError
	if errors.As(err, &usage) && usage.hint != "" {
		return usage.hint
	}
	return "`lockstep-loader help` lists commands and flags"
}

func wrongUsage(hint, format string, values ...any) error {
	return &usageError{message: fmt.Sprintf(format, values...), hint: hint}
}

// parseArguments reads the words after the program's name.
func parseArguments(words []string) (*invocation, error) {
	if len(words) == 0 {
		return nil, wrongUsage("", "no command given")
	}
	switch command, rest := words[0], words[1:]; command {
	case "open":
		options, _, err := parseOpen(rest)
		return &invocation{open: options}, err
	case "open-one":
		options, one, err := parseOpen(rest)
		if err != nil {
			return nil, err
		}
		one.plugin = options.plugins[0]
		return &invocation{openOne: one}, nil
	case "clear":
		return &invocation{clear: rest}, nil
	case "drive":
		options, err := parseDrive(rest)
		return &invocation{drive: options}, err
	case "steps":
		steps, err := parseSteps(rest)
		return &invocation{steps: steps}, err
	case "version", "--version":
		return &invocation{version: true}, nil
	case "help", "--help", "-h":
		return &invocation{help: true}, nil
	default:
		return nil, wrongUsage("", "unknown command `%s`", command)
	}
}

func parseOpen(all []string) (*openOptions, *contract, error) {
	words := &wordReader{rest: all}
	common := newCommonFlags()
	parsed := &contract{types: map[string]string{}}
	var scratch []string
	lastCall := func(flag string) *call {
		if len(parsed.calls) == 0 {
			words.fail(wrongUsage("", "`%s` must follow a `--call`", flag))
			return &call{}
		}
		return &parsed.calls[len(parsed.calls)-1]
	}
	push := func(flag string, value argument) {
		if last := lastCall(flag); len(last.arguments) == callArgumentsLimitCount {
			words.fail(wrongUsage("", "the call of `%s` has more than %d arguments", last.symbol, callArgumentsLimitCount))
		} else {
			last.arguments = append(last.arguments, value)
		}
	}
	for flag := words.nextFlag(); flag != ""; flag = words.nextFlag() {
		switch flag {
		case "--flags":
			words.once(flag)
			words.goOnly(flag, "now", "lazy")
		case "--scope":
			words.once(flag)
			words.goOnly(flag, "global", "local")
		case "--keep-open":
			// A Go plugin cannot be closed.
		case "--scratch":
			scratch = append(scratch, words.value(flag))
		case "--symbol":
			parsed.symbols = append(parsed.symbols, words.value(flag))
		case "--type":
			wanted := words.value(flag)
			if len(parsed.symbols) == 0 {
				words.fail(wrongUsage("", "`%s` must follow a `--symbol`", flag))
				break
			}
			last := parsed.symbols[len(parsed.symbols)-1]
			if parsed.types[last] != "" {
				words.fail(wrongUsage("", "the type of `%s` is given twice", last))
			}
			parsed.types[last] = wanted
		case "--call":
			parsed.calls = append(parsed.calls, call{symbol: words.value(flag), returns: returnsNone})
		case "--arg-string":
			push(flag, argument{text: words.value(flag)})
		case "--arg-integer":
			number := choose(words, flag, "a whole number of 64 bits", func(text string) (int64, bool) {
				value, err := strconv.ParseInt(text, 10, 64)
				return value, err == nil
			})
			push(flag, argument{isInteger: true, integer: number})
		case "--returns":
			last := lastCall(flag)
			last.returns = choose(words, flag, "`string`, `integer`, `int32` or `none`", func(text string) (string, bool) {
				switch text {
				case returnsString, returnsInteger, returnsInt32, returnsNone:
					return text, true
				}
				return "", false
			})
		default:
			common.take(flag, words)
		}
	}
	plugins := words.rest
	if words.err == nil && len(plugins) == 0 {
		words.fail(wrongUsage("name the plugins' files after the flags", "no plugin given"))
	}
	for _, plugin := range plugins {
		if !words.isSeparated && strings.HasPrefix(plugin, "-") {
			hint := "put flags before the plugins, or `--` before plugins that look like flags"
			words.fail(wrongUsage(hint, "`%s` stands after a plugin", plugin))
		}
	}
	if words.err != nil {
		return nil, nil, words.err
	}
	flags := all[:len(all)-len(plugins)]
	if words.isSeparated {
		flags = flags[:len(flags)-1]
	}
	options := &openOptions{
		flags:            flags,
		timeout:          common.timeout,
		outputLimitBytes: common.outputLimitBytes,
		environment:      common.environment,
		user:             common.user,
		scratch:          scratch,
		contract:         parsed,
		plugins:          plugins,
	}
	return options, parsed, nil
}

// parseSteps reads the words after `steps`: of each step how many they are, and the words of a `drive`.
func parseSteps(all []string) ([]*driveOptions, error) {
	words := &wordReader{rest: all}
	var steps []*driveOptions
	for words.err == nil && len(words.rest) > 0 {
		if own := words.several("steps"); words.err == nil {
			step, err := parseDrive(own)
			if err != nil {
				return nil, err
			}
			steps = append(steps, step)
		}
	}
	if words.err == nil && len(steps) == 0 {
		words.fail(wrongUsage("name the program and its arguments after `--`", "no command to run given"))
	}
	return steps, words.err
}

// parseClient reads the words of a client.
func parseClient(all []string) (*driveOptions, error) {
	client, err := parseDrive(all)
	if err == nil && client.server != nil {
		err = wrongUsage("", "`--client` takes a command that ends, and is given a server")
	}
	return client, err
}

// pendingRequest is a request whose URL may still be a path, or a client.
type pendingRequest struct {
	client  *driveOptions
	method  string
	url     string
	headers []httpHeader
	body    *string
}

func parseDrive(all []string) (*driveOptions, error) {
	words := &wordReader{rest: all}
	common := newCommonFlags()
	server := &serverOptions{
		stopSignal:  syscall.SIGTERM,
		stopTimeout: defaultStopTimeoutMilliseconds * time.Millisecond,
	}
	options := &driveOptions{}
	isReadyKnown, needsReady := false, ""
	var pending []pendingRequest
	lastRequest := func(flag string) *pendingRequest {
		if len(pending) == 0 || pending[len(pending)-1].client != nil {
			words.fail(wrongUsage("", "`%s` must follow a `--request`", flag))
			return &pendingRequest{}
		}
		return &pending[len(pending)-1]
	}
	for flag := words.nextFlag(); flag != ""; flag = words.nextFlag() {
		switch flag {
		case "--ready-timeout-ms", "--request-timeout-ms", "--stop-timeout-ms", "--stop-signal", "--request", "--client":
			// The first flag that says nothing without a server, for the message.
			if needsReady == "" {
				needsReady = flag
			}
		case "--ready-http", "--ready-tcp", "--ready-stdout":
			if isReadyKnown {
				hint := "keep the one that says most about the server"
				words.fail(wrongUsage(hint, "more than one `--ready-…` flag is given"))
			}
			isReadyKnown = true
		}
		switch flag {
		case "--ready-http":
			if text := words.value(flag); words.err == nil {
				url, err := parseURL(text)
				if err != nil {
					words.fail(wrongUsage("", "`%s` cannot use `%s`: %v", flag, text, err))
				}
				server.ready.http = url
			}
		case "--ready-tcp":
			server.ready.port = choose(words, flag, "a port from 1 to 65535", parsePort)
		case "--ready-stdout":
			text := words.value(flag)
			server.ready.stdout = &text
		case "--ready-timeout-ms":
			server.readyTimeout = words.milliseconds(flag)
		case "--request-timeout-ms":
			server.requestTimeout = words.milliseconds(flag)
		case "--stop-timeout-ms":
			server.stopTimeout = words.milliseconds(flag)
		case "--stop-signal":
			words.once(flag)
			server.stopSignal = choose(words, flag, "a signal's name, such as `TERM`", parseSignal)
		case "--request":
			method := choose(words, flag, "a method, such as `GET`", func(text string) (string, bool) {
				return text, text != "" && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
			})
			pending = append(pending, pendingRequest{method: method, url: words.value(flag)})
		case "--client":
			if own := words.several(flag); words.err == nil {
				client, err := parseClient(own)
				if err != nil {
					words.fail(err)
				}
				pending = append(pending, pendingRequest{client: client})
			}
		case "--directory":
			words.once(flag)
			options.directory = choose(words, flag, "an absolute path", func(text string) (string, bool) {
				return text, strings.HasPrefix(text, "/")
			})
		case "--stdin":
			words.once(flag)
			text := words.value(flag)
			options.stdin = &text
		case "--status":
			words.once(flag)
			status := choose(words, flag, "a number from 0 to 255", func(text string) (int, bool) {
				number, err := strconv.Atoi(text)
				return number, err == nil && number >= 0 && number <= statusLimit
			})
			options.status = &status
		case "--header":
			header := choose(words, flag, "`NAME: VALUE`", parseHeader)
			last := lastRequest(flag)
			last.headers = append(last.headers, header)
		case "--body":
			body := words.value(flag)
			last := lastRequest(flag)
			if last.body != nil {
				words.fail(wrongUsage("", "`--body` is given twice"))
			}
			last.body = &body
		default:
			common.take(flag, words)
		}
	}
	command := words.rest
	if words.err == nil && len(command) == 0 {
		words.fail(wrongUsage("name the program and its arguments after `--`", "no command to run given"))
	}
	if !isReadyKnown && needsReady != "" {
		hint := "add `--ready-http URL`, `--ready-tcp PORT` or `--ready-stdout TEXT`"
		words.fail(wrongUsage(hint, "`%s` is for a server, and nothing says when the server is ready", needsReady))
	}
	for _, request := range pending {
		if words.err != nil {
			break
		}
		if request.client != nil {
			server.questions = append(server.questions, question{client: request.client})
			continue
		}
		url, err := server.ready.resolve(request.url)
		if err != nil {
			words.fail(wrongUsage("", "`--request` cannot use `%s`: %v", request.url, err))
			break
		}
		server.questions = append(server.questions, question{request: &httpRequest{
			method: request.method, url: url, headers: request.headers, body: request.body,
		}})
	}
	if words.err != nil {
		return nil, words.err
	}
	options.command = command
	options.environment, options.user = common.environment, common.user
	options.timeout, options.outputLimitBytes = common.timeout, common.outputLimitBytes
	if isReadyKnown {
		server.readyTimeout = cmp.Or(server.readyTimeout, common.timeout)
		server.requestTimeout = cmp.Or(server.requestTimeout, common.timeout)
		options.server = server
	}
	return options, nil
}

// resolve reads the URL of a request; a path is one of the server that is known from how it becomes ready.
func (r *ready) resolve(text string) (*loopbackURL, error) {
	switch {
	case !strings.HasPrefix(text, "/") || r.stdout != nil:
		return parseURL(text)
	case r.http != nil:
		return r.http.withPath(text)
	default:
		return urlOfPort(r.port).withPath(text)
	}
}

func parsePort(text string) (uint16, bool) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil && port > 0
}

// parseHeader takes names that are tokens and values without control characters, so that a header cannot become two.
func parseHeader(text string) (httpHeader, bool) {
	name, value, found := strings.Cut(text, ":")
	isToken := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}
	isControl := func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }
	isOther := func(c rune) bool { return !isToken(c) }
	valid := found && name != "" && strings.IndexFunc(name, isOther) < 0 && strings.IndexFunc(value, isControl) < 0
	return httpHeader{name, strings.TrimSpace(value)}, valid
}

// commonFlags are what `open` and `drive` share.
type commonFlags struct {
	timeout          time.Duration
	outputLimitBytes int
	environment      []string
	user             *user
}

func newCommonFlags() *commonFlags {
	return &commonFlags{timeout: defaultTimeoutMilliseconds * time.Millisecond, outputLimitBytes: defaultOutputLimitBytes}
}

func (c *commonFlags) take(flag string, words *wordReader) {
	switch flag {
	case "--timeout-ms":
		c.timeout = words.milliseconds(flag)
	case "--output-limit-bytes":
		words.once(flag)
		c.outputLimitBytes = words.number(flag, outputLimitLimitBytes)
	case "--user":
		words.once(flag)
		c.user = choose(words, flag, "`UID:GID`", parseUser)
	case "--env":
		c.environment = append(c.environment, choose(words, flag, "`NAME=VALUE`", func(text string) (string, bool) {
			return text, strings.IndexByte(text, '=') > 0
		}))
	default:
		words.fail(wrongUsage("", "unknown flag `%s`", flag))
	}
}

// parseUser reads UID:GID. Root is nobody to be, and the largest number means "no change" to the kernel.
func parseUser(text string) (*user, bool) {
	number := func(text string) (uint32, bool) {
		value, err := strconv.ParseUint(text, 10, 32)
		return uint32(value), err == nil && value > 0 && value < 1<<32-1
	}
	first, second, _ := strings.Cut(text, ":")
	uid, isUser := number(first)
	gid, isGroup := number(second)
	return &user{uid, gid}, isUser && isGroup
}

// wordReader gives the words that are still to be read, until something is wrong.
type wordReader struct {
	rest []string
	// Whether `--` has ended the flags.
	isSeparated bool
	given       map[string]bool
	err         error
}

func (w *wordReader) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// nextFlag gives nothing at the first word that is not a flag, at `--`, which is skipped, and after a failure.
func (w *wordReader) nextFlag() string {
	if w.err != nil || len(w.rest) == 0 || !strings.HasPrefix(w.rest[0], "-") {
		return ""
	}
	flag := w.rest[0]
	w.rest = w.rest[1:]
	w.isSeparated = flag == "--"
	if w.isSeparated {
		return ""
	}
	return flag
}

func (w *wordReader) value(flag string) string {
	if len(w.rest) == 0 {
		w.fail(wrongUsage("", "`%s` lacks its value", flag))
		return ""
	}
	value := w.rest[0]
	w.rest = w.rest[1:]
	return value
}

// several gives so many of the next words, which are a command line of their own.
func (w *wordReader) several(flag string) []string {
	left := len(w.rest) - 1
	count := choose(w, flag, "a number of words", func(text string) (int, bool) {
		number, err := strconv.Atoi(text)
		return number, err == nil && number >= 1 && number <= left
	})
	if w.err != nil {
		return nil
	}
	taken := w.rest[:count]
	w.rest = w.rest[count:]
	return taken
}

// choose reads the value of a flag that does not take everything.
func choose[T any](w *wordReader, flag, takes string, read func(string) (T, bool)) T {
	var none T
	text := w.value(flag)
	if w.err != nil {
		return none
	}
	value, ok := read(text)
	if !ok {
		w.fail(wrongUsage("", "`%s` takes %s, not `%s`", flag, takes, text))
		return none
	}
	return value
}

// goOnly reads a choice of which plugin.Open leaves one.
func (w *wordReader) goOnly(flag, possible, other string) {
	text := w.value(flag)
	switch {
	case w.err != nil || text == possible:
	case text == other:
		hint := "leave the flag out, or say `" + possible + "`"
		w.fail(wrongUsage(hint, "`%s` cannot be `%s`: Go opens plugins with `now` and `global`", flag, other))
	case flag == "--flags":
		w.fail(wrongUsage("", "`--flags` takes `now` or `lazy`, not `%s`", text))
	default:
		w.fail(wrongUsage("", "`--scope` takes `local` or `global`, not `%s`", text))
	}
}

func (w *wordReader) once(flag string) {
	if w.given[flag] {
		w.fail(wrongUsage("", "`%s` is given twice", flag))
	}
	if w.given == nil {
		w.given = map[string]bool{}
	}
	w.given[flag] = true
}

func (w *wordReader) number(flag string, limit int) int {
	return choose(w, flag, fmt.Sprintf("a number from 1 to %d", limit), func(text string) (int, bool) {
		number, err := strconv.Atoi(text)
		return number, err == nil && number >= 1 && number <= limit
	})
}

func (w *wordReader) milliseconds(flag string) time.Duration {
	w.once(flag)
	return time.Duration(w.number(flag, timeoutLimitMilliseconds)) * time.Millisecond
}
