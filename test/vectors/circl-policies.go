//go:build ignore

// Writes circl-policies.json: what CIRCL makes of policies with AND, OR, NOT and repeated labels, when all
// of its randomness is SHAKE128("icvpn"). In a checkout of github.com/cloudflare/circl, v1.6.4 or later:
//
//	go run circl-policies.go > circl-policies.json
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"

	cpabe "github.com/cloudflare/circl/abe/cpabe/tkn20"
	"github.com/cloudflare/circl/xof"
)

// Vector holds SHA-256 digests, in hexadecimal, of what the stream yields next: a ciphertext, then a key.
type Vector struct {
	Policy     string            `json:"policy"`
	Attributes map[string]string `json:"attributes"`
	Ciphertext string            `json:"ciphertext"`
	Key        string            `json:"key"`
	Opens      bool              `json:"opens"`
}

// File is what is written.
type File struct {
	Stream    string   `json:"stream"`
	Plaintext string   `json:"plaintext"`
	PublicKey string   `json:"publicKey"`
	MasterKey string   `json:"masterKey"`
	Vectors   []Vector `json:"vectors"`
}

func digest(bytes []byte, err error) string {
	check(err)
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	file := File{Stream: "icvpn", Plaintext: "10.0.0.7"}
	prng := xof.SHAKE128.New()
	_, err := prng.Write([]byte(file.Stream))
	check(err)
	pk, msk, err := cpabe.Setup(prng)
	check(err)
	file.PublicKey = digest(pk.MarshalBinary())
	file.MasterKey = digest(msk.MarshalBinary())
	for _, v := range []Vector{
		{Policy: "a: 1 and b: 2", Attributes: map[string]string{"a": "1", "b": "2"}},
		{Policy: "a: 1 and b: 2", Attributes: map[string]string{"a": "1", "c": "2"}},
		{Policy: "a: 1 and b: 2 and c: 3 and d: 4", Attributes: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}},
		{Policy: "a: 1 or b: 2", Attributes: map[string]string{"b": "2", "c": "3"}},
		{Policy: "a: 1 or b: 2", Attributes: map[string]string{"a": "2", "b": "1"}},
		{Policy: "a: 1 or b: 2 and c: 3", Attributes: map[string]string{"b": "2", "c": "3"}},
		{Policy: "(a: 1 or b: 2) and (c: 3 or d: 4)", Attributes: map[string]string{"b": "2", "d": "4"}},
		{Policy: "not a: 1", Attributes: map[string]string{"a": "2"}},
		{Policy: "not a: 1", Attributes: map[string]string{"a": "1"}},
		{Policy: "not a: 1", Attributes: map[string]string{"b": "1"}},
		{Policy: "not (a: 1 and b: 2)", Attributes: map[string]string{"a": "1", "b": "1"}},
		{Policy: "not (a: 1 or b: 2)", Attributes: map[string]string{"a": "2", "b": "1"}},
		{Policy: "not not a: 1 and not b: 2", Attributes: map[string]string{"a": "1", "b": "3"}},
		{Policy: "a: 1 or a: 2 or a: 3", Attributes: map[string]string{"a": "3"}},
		{Policy: "not a: 1 and not a: 2 and b: 3", Attributes: map[string]string{"a": "3", "b": "3"}},
		{Policy: "(a: 1 and b: 2) or (a: 1 and not b: 2)", Attributes: map[string]string{"a": "1", "b": "5"}},
		{Policy: "a: 1 and (b: 2 or (c: 3 and not (d: 4 or b: 7)))", Attributes: map[string]string{"a": "1", "b": "6", "c": "3", "d": "5"}},
		{Policy: "a: 1 and (b: 2 or (c: 3 and not (d: 4 or b: 7)))", Attributes: map[string]string{"a": "1", "b": "7", "c": "3", "d": "5"}},
	} {
		policy := cpabe.Policy{}
		check(policy.FromString(v.Policy))
		ciphertext, err := pk.Encrypt(prng, policy, []byte(file.Plaintext))
		v.Ciphertext = digest(ciphertext, err)
		attributes := cpabe.Attributes{}
		attributes.FromMap(v.Attributes)
		key, err := msk.KeyGen(prng, attributes)
		check(err)
		v.Key = digest(key.MarshalBinary())
		plaintext, err := key.Decrypt(ciphertext)
		v.Opens = err == nil && string(plaintext) == file.Plaintext
		file.Vectors = append(file.Vectors, v)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	check(out.Encode(file))
}
