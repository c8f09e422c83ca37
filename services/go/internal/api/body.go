package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bakeoff/billing/internal/billing"
)

const (
	maxBody = 1 << 20
	// bodyTimeout is for the whole body, from the request's head on.
	bodyTimeout = 4 * time.Second
)

var isJSONType = regexp.MustCompile(`^(?i)application/json[ \t]*(;[ \t]*charset=("utf-8"|utf-8)[ \t]*)?$`).MatchString

// limitBody limits the time for the body, also for one that nobody reads: net/http
// looks for its end before it answers.
func limitBody(w http.ResponseWriter, start time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTimeout)) // a recorder has none
}

// readBody checks type and size and reads the body.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !hasJSONBody(r.Header) {
		return nil, &billing.Error{Kind: billing.UnsupportedMediaType}
	}
	if r.ContentLength > maxBody {
		return nil, &billing.Error{Kind: billing.BodyTooLarge}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		exchangeOf(r.Context()).unread = true
		kind := billing.UnreadableBody
		if errors.Is(err, os.ErrDeadlineExceeded) {
			kind = billing.BodyTimeout
		}
		return nil, &billing.Error{Kind: kind, Cause: err}
	}
	if len(body) > maxBody {
		return nil, &billing.Error{Kind: billing.BodyTooLarge}
	}
	// From here on a read only finds out that the client has hung up.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

func hasJSONBody(header http.Header) bool {
	types := header.Values("Content-Type")
	for _, encoding := range header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return false
		}
	}
	return len(types) == 1 && isJSONType(types[0])
}

// readForm reads a body as the fields of an object.
func readForm(w http.ResponseWriter, r *http.Request) (*form, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return parseForm(body)
}

// parseForm takes one flat object with distinct names. What encoding/json mends in
// silence (bad UTF-8, half a surrogate pair, a name that comes twice) is refused.
func parseForm(body []byte) (*form, error) {
	malformed := &billing.Error{Kind: billing.MalformedBody}
	if !utf8.Valid(body) || !json.Valid(body) || hasBadEscape(body) {
		return nil, malformed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, malformed
	}
	values := map[string]any{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, malformed
		}
		value, err := decoder.Token()
		if _, nested := value.(json.Delim); nested || err != nil {
			return nil, malformed
		}
		if _, twice := values[name.(string)]; twice {
			return nil, malformed
		}
		values[name.(string)] = value
	}
	return &form{values: values}, nil
}

// hasBadEscape looks in valid JSON for U+0000 and half a surrogate pair.
func hasBadEscape(body []byte) bool {
	for {
		at := bytes.IndexByte(body, '\\')
		if at < 0 {
			return false
		}
		body = body[at:]
		unit, escaped := codeUnit(body)
		switch {
		case !escaped:
			body = body[2:]
		case unit == 0, unit >= 0xDC00 && unit < 0xE000:
			return true
		case unit >= 0xD800 && unit < 0xDC00:
			if low, ok := codeUnit(body[6:]); !ok || low < 0xDC00 || low >= 0xE000 {
				return true
			}
			body = body[12:]
		default:
			body = body[6:]
		}
	}
}

// codeUnit reads \uXXXX at the start of text.
func codeUnit(text []byte) (unit uint64, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return unit, err == nil
}
