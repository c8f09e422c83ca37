package paying

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

const (
	// Of so many ticks, one deletes old keys instead of sweeping.
	expireEvery = 60
	expireAt    = 30
)

// Sweep sends attempts again whose end nobody knows, and deletes old keys, till
// stop is called. What it has sent by then goes on: see Wait.
func (p *Payer) Sweep() (stop func()) {
	stopped := make(chan struct{})
	p.work.Go(func() {
		for n := 0; ; n++ {
			p.tick(n, stopped)
			select {
			case <-stopped:
				return
			case <-time.After(p.interval):
			}
		}
	})
	return sync.OnceFunc(func() { close(stopped) })
}

// tick is one round of work: again and again while there is a full batch to do.
func (p *Payer) tick(n int, stopped <-chan struct{}) {
	work := p.sweepOnce
	if n%expireEvery == expireAt {
		work = p.expireOnce
	}
	for {
		select {
		case <-stopped:
			return
		default:
		}
		full, err := work()
		if err != nil {
			p.logger.Warn("sweep failed", zap.Error(err))
		}
		if err != nil || !full {
			return
		}
	}
}

// sweepOnce sends a batch again, all at once, and says whether it was a full one.
func (p *Payer) sweepOnce() (full bool, err error) {
	attempts, err := p.take()
	if err != nil || len(attempts) == 0 {
		return false, err
	}
	p.logger.Info("sweep", zap.Int("attempts", len(attempts)))
	var sends sync.WaitGroup
	for _, attempt := range attempts {
		sends.Go(func() {
			// What becomes of it is stored or logged.
			p.recovered(func() (Answer, error) {
				return p.settle(context.Background(), attempt, "", payments.CallMeta{RequestID: uuid.NewString()})
			})
		})
	}
	sends.Wait()
	return len(attempts) == postgres.SweepBatch, nil
}

// take leases a batch, on a connection that is back before anything is sent.
func (p *Payer) take() (attempts []billing.Attempt, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), transactionTimeout)
	defer cancel()
	err = p.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		attempts, err = postgres.AttemptSweep(ctx, connection, p.lease())
		return err
	})
	return attempts, err
}

// expireOnce deletes a batch of old keys, and says whether it was a full one.
func (p *Payer) expireOnce() (full bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), transactionTimeout)
	defer cancel()
	var deleted int64
	err = p.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		deleted, err = postgres.KeyExpire(ctx, connection)
		return err
	})
	return deleted == postgres.ExpireBatch, err
}
