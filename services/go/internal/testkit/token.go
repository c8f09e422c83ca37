package testkit

import (
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What the service under test expects of a token.
const (
	Secret   = "0123456789abcdef0123456789abcdef"
	Issuer   = "https://issuer.test"
	Audience = "billing"
)

// Claims is a good set for Account; changes replace members of it, a nil
// removes one.
func Claims(changes jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": Issuer,
		"aud": Audience,
		"sub": Account,
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// Token signs claims as the service expects.
func Token(t *testing.T, changes jwt.MapClaims) string {
	t.Helper()
	return Sign(t, jwt.SigningMethodHS256, []byte(Secret), Claims(changes))
}

// Sign makes a token of any kind.
func Sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal("sign a token:", err)
	}
	return token
}

// SignWithHeader makes a good token with one more header parameter.
func SignWithHeader(t *testing.T, name string, value any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, Claims(nil))
	token.Header[name] = value
	text, err := token.SignedString([]byte(Secret))
	if err != nil {
		t.Fatal("sign a token:", err)
	}
	return text
}
