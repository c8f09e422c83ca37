package billing_test

import (
	"testing"

	"bakeoff/billing/internal/billing"
)

func TestOnlyOneSpellingOfAnIDIsRead(t *testing.T) {
	good := "8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f"
	if id, ok := billing.ParseID(good); !ok || id.String() != good {
		t.Errorf("ParseID(%q) = %v, %v", good, id, ok)
	}
	for _, bad := range []string{
		"",
		"0",
		"8C6E0D5C-2F4A-4B1E-8D3F-0A1B2C3D4E5F",
		"8c6e0d5c2f4a4b1e8d3f0a1b2c3d4e5f",
		"{8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f}",
		"urn:uuid:8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f",
		"8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f ",
	} {
		if _, ok := billing.ParseID(bad); ok {
			t.Errorf("ParseID(%q) took it", bad)
		}
	}
}
