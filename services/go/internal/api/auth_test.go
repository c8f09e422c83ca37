package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"bakeoff/billing/internal/testkit"
)

func TestGoodTokensAreTaken(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for name, value := range map[string]string{
		"lower-case scheme": "bearer " + testkit.Token(t, nil),
		"upper-case scheme": "BEARER " + testkit.Token(t, nil),
		"exp with fraction": "Bearer " + testkit.Token(t, jwt.MapClaims{"exp": float64(time.Now().Unix()) + 1000.5}),
		"nbf in the past":   "Bearer " + testkit.Token(t, jwt.MapClaims{"nbf": time.Now().Unix() - 1}),
		"another claim":     "Bearer " + testkit.Token(t, jwt.MapClaims{"roles": []string{"reader"}}),
	} {
		t.Run(name, func(t *testing.T) {
			answer := service.Send(t, "GET", testkit.Path, http.Header{"Authorization": {value}})
			if answer.Status != http.StatusOK {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})
	}
}

func TestBadTokensAre401(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	now := time.Now().Unix()
	good := testkit.Token(t, nil)
	bearer := func(changes jwt.MapClaims) []string { return []string{"Bearer " + testkit.Token(t, changes)} }
	signed := func(method jwt.SigningMethod, key any) []string {
		return []string{"Bearer " + testkit.Sign(t, method, key, testkit.Claims(nil))}
	}
	for name, values := range map[string][]string{
		"none":              nil,
		"empty":             {""},
		"no token":          {"Bearer"},
		"garbage":           {"Bearer garbage"},
		"another scheme":    {"Basic " + good},
		"two parts":         {"Bearer " + good[:strings.LastIndex(good, ".")]},
		"four parts":        {"Bearer " + good + ".e30"},
		"no signature":      {"Bearer " + good[:strings.LastIndex(good, ".")+1]},
		"padded":            {"Bearer " + good + "="},
		"wrong secret":      signed(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32))),
		"alg none":          signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"HS384":             signed(jwt.SigningMethodHS384, []byte(testkit.Secret)),
		"HS512":             signed(jwt.SigningMethodHS512, []byte(testkit.Secret)),
		"crit":              {"Bearer " + testkit.SignWithHeader(t, "crit", []string{"b64"})},
		"expired":           bearer(jwt.MapClaims{"exp": now - 1}),
		"expires now":       bearer(jwt.MapClaims{"exp": now}),
		"no exp":            bearer(jwt.MapClaims{"exp": nil}),
		"exp as string":     bearer(jwt.MapClaims{"exp": "9999999999"}),
		"exp as array":      bearer(jwt.MapClaims{"exp": []int64{9999999999}}),
		"negative exp":      bearer(jwt.MapClaims{"exp": -1}),
		"no iss":            bearer(jwt.MapClaims{"iss": nil}),
		"wrong iss":         bearer(jwt.MapClaims{"iss": "https://issuer.test/"}),
		"iss array":         bearer(jwt.MapClaims{"iss": []string{testkit.Issuer}}),
		"no aud":            bearer(jwt.MapClaims{"aud": nil}),
		"wrong aud":         bearer(jwt.MapClaims{"aud": "Billing"}),
		"aud array":         bearer(jwt.MapClaims{"aud": []string{testkit.Audience}}),
		"missing sub":       bearer(jwt.MapClaims{"sub": nil}),
		"sub not uuid":      bearer(jwt.MapClaims{"sub": "account-1"}),
		"sub in upper case": bearer(jwt.MapClaims{"sub": strings.ToUpper(testkit.Account)}),
		"sub a number":      bearer(jwt.MapClaims{"sub": 1}),
		"nbf in future":     bearer(jwt.MapClaims{"nbf": now + 1000}),
		"nbf as string":     bearer(jwt.MapClaims{"nbf": "1"}),
		"two headers":       {"Bearer " + good, "Bearer " + good},
	} {
		t.Run(name, func(t *testing.T) {
			answer := service.Send(t, "GET", testkit.Path, http.Header{"Authorization": values})
			if answer.Status != http.StatusUnauthorized || answer.Problem(t) != "unauthenticated" {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if got := answer.Header.Get("WWW-Authenticate"); got != "Bearer" {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		})
	}
	if len(service.Provider.Received()) != 0 {
		t.Error("the provider was asked")
	}
}
