package signature_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"kuairelay/relay/signature"
)

// The vector of Standard Webhooks, as docs/tenant/receiving.md has it.
func ExampleSign() {
	key, err := signature.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	keys := []signature.Key{key}
	body := []byte(`{"test": 2432232314}`)
	fmt.Println(signature.Sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body))
	// Output: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

func ExampleVerify() {
	key, err := signature.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	keys := []signature.Key{key}
	header := http.Header{}
	header.Set(signature.HeaderID, "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set(signature.HeaderTimestamp, "1614265330")
	header.Set(signature.HeaderSignature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	now := time.Unix(1614265390, 0)

	fmt.Println(signature.Verify(keys, header, []byte(`{"test": 2432232314}`), now, 0))
	err = signature.Verify(keys, header, []byte(`{"test":2432232314}`), now, 0) // written anew, without the space
	fmt.Println(errors.Is(err, signature.ErrMismatch))
	// Output:
	// <nil>
	// true
}
