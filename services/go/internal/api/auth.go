package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/config"
)

// authenticator checks bearer tokens: JWT, HS256 only, each one anew.
type authenticator struct {
	parser   *jwt.Parser
	secret   []byte
	issuer   string
	audience string
}

// newAuthenticator leaves the claims to accountOf: the library also takes an
// aud that is a list and cuts exp to whole seconds.
func newAuthenticator(settings config.Config) authenticator {
	return authenticator{
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithStrictDecoding(),
			jwt.WithoutClaimsValidation(),
		),
		secret:   []byte(settings.AuthJWTSecret),
		issuer:   settings.AuthJWTIssuer,
		audience: settings.AuthJWTAudience,
	}
}

// authenticate finds out the caller's account, or answers 401.
func (a *API) authenticate(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		account, err := a.tokens.account(r.Header)
		if err != nil {
			return &billing.Error{Kind: billing.Unauthenticated, Cause: err}
		}
		exchangeOf(r.Context()).account = account
		next.ServeHTTP(w, r)
		return nil
	})
}

// account returns the account of the token.
func (v *authenticator) account(header http.Header) (uuid.UUID, error) {
	text, err := bearerToken(header)
	if err != nil {
		return uuid.Nil, err
	}
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(text, claims, v.key); err != nil {
		return uuid.Nil, err
	}
	return v.accountOf(claims, time.Now())
}

// bearerToken returns the token of the only Authorization header.
func bearerToken(header http.Header) (string, error) {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return "", errors.New("not just one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("not a bearer token")
	}
	return token, nil
}

func (v *authenticator) key(token *jwt.Token) (any, error) {
	if _, found := token.Header["crit"]; found {
		return nil, errors.New("crit names an extension that is not known")
	}
	return v.secret, nil
}

// accountOf checks the claims, without leeway, and returns sub.
func (v *authenticator) accountOf(claims jwt.MapClaims, at time.Time) (uuid.UUID, error) {
	now := float64(at.UnixMicro()) / 1e6
	if exp, ok := claims["exp"].(float64); !ok || now >= exp {
		return uuid.Nil, errors.New("exp is missing, not a number or over")
	}
	if value, found := claims["nbf"]; found {
		if nbf, ok := value.(float64); !ok || now < nbf {
			return uuid.Nil, errors.New("nbf is not a number or in the future")
		}
	}
	if issuer, ok := claims["iss"].(string); !ok || issuer != v.issuer {
		return uuid.Nil, errors.New("iss is not the expected one")
	}
	if audience, ok := claims["aud"].(string); !ok || audience != v.audience {
		return uuid.Nil, errors.New("aud is not the expected one")
	}
	subject, _ := claims["sub"].(string)
	account, ok := billing.ParseID(subject)
	if !ok {
		return uuid.Nil, errors.New("sub is not an account's id")
	}
	return account, nil
}
