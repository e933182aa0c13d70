#!/bin/sh
# curl, as the vendor's page shows it.
set -eu
action=$1 photo=$2 output=$3
url=$STACK_URL/v1.0
case $action in
account)
    curl -sS --fail -H "X-Api-Key: $STACK_KEY" "$url/account" |
        sed 's/.*"total":\([0-9.]*\).*/{"credits": \1}/'
    ;;
remove)
    curl -sS --fail -H "X-Api-Key: $STACK_KEY" -F "image_file=@$photo" -F size=auto "$url/removebg" -o "$output"
    echo '{}'
    ;;
error)
    curl -sS -H "X-Api-Key: $STACK_KEY" -F "image_file=@$photo" -F size=auto "$url/removebg" |
        sed 's/.*"title":"\([^"]*\)".*/{"error": "\1"}/'
    ;;
esac
