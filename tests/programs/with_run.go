// Usage: with_run ORIGIN
//
// Asks by net/http, which knows of the proxy and the certificate authority by its environment.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Get(os.Args[1] + "/text")
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || string(text) != "a text\n" {
		log.Fatal(answer.Status, err)
	}
}
