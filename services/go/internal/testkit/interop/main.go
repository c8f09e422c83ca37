// Command interop makes calls of gRPC as it is told, a JSON object a line on
// standard input, and prints what came of each: grpc-go's side of the tests of
// the payment stub. Messages are bytes, so it knows no protos.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const maximumLineBytes = 64 << 20

// wish is a call, or `Count` of them one after the other. A `Streaming` call
// sends its message and never ends its side.
type wish struct {
	Target      string      `json:"target"`
	Path        string      `json:"path"`
	Body        []byte      `json:"body"`
	Metadata    [][2]string `json:"metadata"`
	TimeoutMS   int         `json:"timeout_ms"`
	CancelAfter int         `json:"cancel_after_ms"`
	Streaming   bool        `json:"streaming"`
	Count       int         `json:"count"`
	NewChannels bool        `json:"new_channels"`
}

// outcome has how often each status came, and the last call's message and body.
type outcome struct {
	Codes   map[uint32]int `json:"codes"`
	Message string         `json:"message"`
	Body    []byte         `json:"body"`
}

// raw hands messages through as they are.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) {
	return *message.(*[]byte), nil
}

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (raw) Name() string { return "proto" }

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maximumLineBytes)
	answers := json.NewEncoder(os.Stdout)
	channels := map[string]*grpc.ClientConn{}
	for lines.Scan() {
		var asked wish
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatalf("read a line: %v", err)
		}
		if err := answers.Encode(fulfil(asked, channels)); err != nil {
			log.Fatalf("write a line: %v", err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatalf("read a line: %v", err)
	}
}

func fulfil(asked wish, channels map[string]*grpc.ClientConn) outcome {
	found := outcome{Codes: map[uint32]int{}}
	for range asked.Count {
		channel := channels[asked.Target]
		if channel == nil || asked.NewChannels {
			channel = open(asked.Target)
		}
		body, err := call(channel, asked)
		if asked.NewChannels {
			_ = channel.Close()
		} else {
			channels[asked.Target] = channel
		}
		said := status.Convert(err)
		found.Codes[uint32(said.Code())]++
		found.Message, found.Body = said.Message(), body
	}
	return found
}

func open(target string) *grpc.ClientConn {
	channel, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		log.Fatalf("open a channel to %s: %v", target, err)
	}
	return channel
}

func call(channel *grpc.ClientConn, asked wish) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(asked.TimeoutMS)*time.Millisecond)
	defer cancel()
	for _, pair := range asked.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, pair[0], pair[1])
	}
	if asked.CancelAfter > 0 {
		timer := time.AfterFunc(time.Duration(asked.CancelAfter)*time.Millisecond, cancel)
		defer timer.Stop()
	}
	var answer []byte
	if !asked.Streaming {
		err := channel.Invoke(ctx, asked.Path, &asked.Body, &answer)
		return answer, err
	}
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := channel.NewStream(ctx, both, asked.Path)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&asked.Body); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	err = stream.RecvMsg(&answer)
	return answer, err
}
