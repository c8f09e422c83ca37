// Package logging makes the service's logger.
package logging

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// New returns a logger that writes one JSON object a line to w, each line with
// one unbuffered write. Unlike zap's production preset it samples nothing and
// adds neither caller nor stack.
func New(w io.Writer, level zapcore.Level) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "timestamp",
		LevelKey:       "level",
		MessageKey:     "message",
		LineEnding:     "\n",
		EncodeTime:     encodeTime,
		EncodeLevel:    zapcore.CapitalLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

func encodeTime(t time.Time, array zapcore.PrimitiveArrayEncoder) {
	zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000000Z")(t.UTC(), array)
}
