package api

import (
	"net/http"
	"strconv"
	"strings"

	"bakeoff/billing/internal/billing"
)

func etag(version int32) string { return `"v` + strconv.Itoa(int(version)) + `"` }

// writeVersion answers with a resource and its version.
func (a *API) writeVersion(w http.ResponseWriter, r *http.Request, status int, version int32, document any) {
	w.Header().Set("Etag", etag(version))
	a.writeJSON(w, r, status, jsonType, document)
}

// writeIfChanged answers with a resource, or 304 where the caller has this version.
func (a *API) writeIfChanged(w http.ResponseWriter, r *http.Request, version int32, document any) {
	for _, piece := range pieces(r.Header, "If-None-Match") {
		piece = strings.TrimPrefix(piece, "W/")
		if piece == "*" || piece == etag(version) {
			w.Header().Set("Etag", etag(version))
			a.writeStatus(w, http.StatusNotModified)
			return
		}
	}
	a.writeVersion(w, r, http.StatusOK, version, document)
}

// requireIfMatch refuses a change that does not say of which version.
func requireIfMatch(header http.Header) error {
	if len(header.Values("If-Match")) == 0 {
		return &billing.Error{Kind: billing.PreconditionRequired}
	}
	return nil
}

// checkIfMatch refuses a change of another version, where one is named.
func checkIfMatch(header http.Header, version int32) error {
	if len(header.Values("If-Match")) == 0 {
		return nil
	}
	for _, piece := range pieces(header, "If-Match") {
		if piece == "*" || piece == etag(version) {
			return nil
		}
	}
	return &billing.Error{Kind: billing.PreconditionFailed}
}

// pieces are the members of a header that is a list.
func pieces(header http.Header, name string) []string {
	values := header.Values(name)
	if len(values) == 0 {
		return nil
	}
	list := strings.Split(strings.Join(values, ","), ",")
	for i, piece := range list {
		list[i] = strings.Trim(piece, " \t")
	}
	return list
}
