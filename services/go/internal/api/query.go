package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"bakeoff/billing/internal/billing"
)

const (
	defaultLimit = 20
	cursorLength = 44
	// macLength is how much of a cursor's HMAC is kept.
	macLength = 9
)

var isLimit = regexp.MustCompile(`^([1-9][0-9]?|100)$`).MatchString

// pathID is the id in the path of an operation that takes no query.
func pathID(r *http.Request) (uuid.UUID, error) {
	id, ok := billing.ParseID(chi.URLParam(r, "id"))
	if !ok {
		return uuid.Nil, &billing.Error{Kind: billing.MalformedID}
	}
	return id, takeNoQuery(r)
}

func takeNoQuery(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return &billing.Error{Kind: billing.MalformedQuery}
	}
	return nil
}

// page reads the query of a list: limit and after, each once at most, nothing escaped.
func (a *API) page(r *http.Request, list string) (billing.Page, error) {
	malformed := &billing.Error{Kind: billing.MalformedQuery}
	page := billing.Page{Limit: defaultLimit, After: billing.Position{CreatedAt: time.Unix(0, 0).UTC()}}
	if r.URL.RawQuery == "" {
		return page, nil
	}
	seen := map[string]bool{}
	for piece := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(piece, "=")
		if seen[name] {
			return page, malformed
		}
		seen[name] = true
		ok := false
		switch name {
		case "limit":
			ok = isLimit(value)
			page.Limit, _ = strconv.Atoi(value)
		case "after":
			page.After, ok = a.cursors.read(value, list, exchangeOf(r.Context()).account)
		}
		if !ok {
			return page, malformed
		}
	}
	return page, nil
}

// cursors writes and reads the places where pages end.
type cursors struct{ secret []byte }

// write makes the cursor of a place in a list of an account.
func (c cursors) write(position billing.Position, list string, account uuid.UUID) string {
	place := binary.BigEndian.AppendUint64(nil, uint64(position.CreatedAt.UnixMicro()))
	place = append(place, position.ID[:]...)
	return base64.RawURLEncoding.EncodeToString(append(place, c.mac(place, list, account)...))
}

// read takes what write gave for this list and account, and nothing else.
func (c cursors) read(text, list string, account uuid.UUID) (billing.Position, bool) {
	whole, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) != cursorLength || len(whole) != 24+macLength {
		return billing.Position{}, false
	}
	place, mac := whole[:24], whole[24:]
	return billing.Position{
		CreatedAt: time.UnixMicro(int64(binary.BigEndian.Uint64(place))).UTC(),
		ID:        uuid.UUID(place[8:]),
	}, hmac.Equal(mac, c.mac(place, list, account))
}

func (c cursors) mac(place []byte, list string, account uuid.UUID) []byte {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte("bakeoff cursor 1\n" + list + "\n" + account.String() + "\n"))
	mac.Write(place)
	return mac.Sum(nil)[:macLength]
}

// cut gives a list of one more than the limit its end, and the cursor of the next
// page where there is one.
func cut[T any](a *API, r *http.Request, list string, limit int, items []T, position func(T) billing.Position) ([]T, *string) {
	if len(items) <= limit {
		return items, nil
	}
	next := a.cursors.write(position(items[limit-1]), list, exchangeOf(r.Context()).account)
	return items[:limit], &next
}
