package cli

import (
	"io"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var logLevels = map[string]zapcore.Level{
	"debug": zapcore.DebugLevel, "info": zapcore.InfoLevel, "warn": zapcore.WarnLevel, "error": zapcore.ErrorLevel,
}

func logLevelFlag(cmd *cobra.Command, byDefault, usage string) *enum {
	e := &enum{value: byDefault, words: []string{"debug", "info", "warn", "error"}}
	cmd.Flags().Var(e, "log-level", usage)
	return e
}

// newLogger returns a logger that writes a warning or an error before it returns, and other lines as soon as it can:
// lines in a buffer are lost when the process is killed. Call its Sync at the end.
func newLogger(w io.Writer, format, level string) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder

	encoder := zapcore.NewJSONEncoder
	if format == "console" {
		encoder = zapcore.NewConsoleEncoder
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.EncodeDuration = zapcore.StringDurationEncoder
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		if newScreen(w).colours {
			c.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
	}

	out := &batchWriter{out: w}
	return zap.New(zapcore.NewCore(encoder(c), out, logLevels[level]), zap.Hooks(func(e zapcore.Entry) error {
		if e.Level < zapcore.WarnLevel {
			return nil
		}
		return out.Sync()
	}))
}
