package logging_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"bakeoff/billing/internal/logging"
)

// writes keeps what each call of Write got.
type writes []string

func (w *writes) Write(line []byte) (int, error) {
	*w = append(*w, string(line))
	return len(line), nil
}

func TestEachLineIsOneWrite(t *testing.T) {
	var got writes
	logger := logging.New(&got, zapcore.InfoLevel)
	logger.Debug("not this")
	for range 300 { // more than zap's production preset lets pass
		logger.Error("again", zap.String("text", "quote \" line\nescape \x1b"))
	}
	if len(got) != 300 {
		t.Fatalf("%d writes", len(got))
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(got[0]), &line); err != nil {
		t.Fatal(err)
	}
	timestamp, _ := line["timestamp"].(string)
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`).MatchString(timestamp) {
		t.Errorf("timestamp is %q", timestamp)
	}
	if line["level"] != "ERROR" || line["message"] != "again" || len(line) != 4 {
		t.Errorf("line is %v", line)
	}
}
