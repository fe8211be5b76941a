"""The expressions that record.py asks mitmproxy about."""

UNARY = """a all dns e http marked q replay replayq replays s tcp udp websocket""".split()

# Patterns for each operator that takes one, as they stand in an expression.
PATTERNS = {
    "u": r"""example /$ ^http:// ^https://example\.com/$ :8080 :80/ :443 ^example\.com:443$ \?a=1&b
        PATH\.js$ café CAFÉ %20 ^http://::1:8080/ ^http://proxy.example/abs\?x$ api/v\d/ (?i)API
        ^http://example.com$ odd_host under_score.example:81/ a!b:81 \d+\.\d+\.\d+\.\d+:8000/old
        .*\.(js|css)$ /[a-f]+ ^[^?]*$ '' '[ ]' 漢 \w\w漢?$ ^.{20}$""",
    "d": r"""example ^example\.com$ EXAMPLE 93\.184 ^::1$ \[ :8080 odd ^api\. ws 10.0.0.1 under_ a!b
        ^a!b$ proxy ^$ \. 1\.2\.3\.4 ^[a-z.]+$""",
    "m": r"GET ^get$ POST|PUT delete ^DELETE$ connect T$ ^.{3}$ options [^G] \w{7}",
    "h": r"""host ^Host: example ^host:\sEXAMPLE\.com\r$ Host:.example\.com$ charset=utf-8
        multi:\sone\r\nx-multi:\stwo X-Multi x-empty:\s\r ^Content-Type:.text ^\w+-type
        authorization:\sbearer bearer\s[a-z]+\.[a-z]+ cookie.*b=2 ^$ \A\w+ Upgrade$ curl/\d location
        content-encoding HTTP \Z \r\n\Z GET""",
    "hq": r"host authorization charset ^content-type upgrade: ^$ \S+\r\Z accept",
    "hs": r"host content-type location: ^upgrade ^$ charset=UTF-8\r$ encoding:\sbr",
    "t": r"""json text ^text/html ^text/html$ IMAGE html;\scharset=utf-8$ . ^$ form-urlencoded css
        gif plain (?-i:IMAGE)""",
    "tq": "json text form . ^application",
    "ts": "json ^text image form javascript . gif$",
    "b": r"""hello Hello.*html ^$ ^ $ html>$ html>\Z </html>\n\Z ^second$ second.third second..third
        \{name\} {name} {"id" '{"id"' [1-2] '\\[1, 2\\]' Café CAFÉ CAFÉ\b caf\xc3\xa9 caf\xe9 caf.$
        caf..< é \xff \x89png PNG\x00 \0 [\x00-\x1f] \W\W< password=\w+ id":\s\d,\n id:\s7$ zipped
        name=zipped traceback.*error ^not\sgzip$ '' \bid\b hello\s(server|client) words""",
    "bq": r"""id hello '"id": ?1' user=ann&password words ^$ zipped ^.{17}$""",
    "bs": r"""id hello ^$ 404 true}\Z \Ahello client html ^<html>.*</html>$ '\\[1,' \xff\x80""",
    "src": r"127 ^127\.0\.0\.1:52044$ ::1:4000 ^::1 \[ 4000$ .",
    "dst": r"example ^example\.com:443$ :8080$ ::1:8080 ^93 api ^1\.2\.3\.4:8000$ \[",
    "meta": r"key ^other 'key: value' thing$ value$ ^value . ^$ '' VALUE\n",
    "marker": r"red ^:red_circle:$ . ^$ '' RED green",
    "comment": r"first line$ ^second 'line\n' . ^$ '' FIRST second\sLINE\Z",
}

STATUSES = "200 404 201 500 101 0 99 0200 2000 99999999999999999999 200abc 404|~c".split()

COMBINED = r"""
~q & ~e
~s & ~c 200
~s ~c 200
~e | ~c 500
! ~s
!~s
!!~s
! ! ~s
!(~s | ~e )
!(~q & ~e ) ~u example
(~q | ~e ) ~u down
~q | ~c 404 ~u example
~u example ~q | ~c 404
~u example & ~q | ~c 404
~c 404 | ~u example & ~q
~c 404 | ~q & ~u example | ~e
~m POST & ~u api | ~m PUT & ~t json
~m POST ~u login !~b password
~m post !(~b password )
((~q ))
( (~q ) & ( ~u / ) )
(~q )(~u / )
(~q )~u /
(~s & ~c 200)&(~m GET)
example
example api
example | login
example|login
example &login
example &&login
example& login
"example" & "com"
"example"&"com"
"example"|"login"
"example""com"
example"com"
'example' com
"exa mple"
'/index'
"\\d+\\.\\d+"
"\d+"
'\'s'
"\"id\""
~b "\"id\""
~b '"id"'
~b "a\tb"
~b 'first\nsecond'
~b 'first\\nsecond'
~h "Host: example"
~h 'content-type: [^;]+; charset'
""
''
&
|
& example
| example
example & &
example & & api
example | | api
example || api
example & | api
! &
! & example
!& example
!|
~u & example
~u | example
~u !a
~u !
~d & ~q
~marked example
~marker red example
~qé
~c 200&~s
~c 200 &~s
~c 200|~q
~c 404 200
not ~q
~q and ~s
~t json | ~t html & ~c 200
~a | ~t html
~a & !~u asset
~websocket & ~b hello
~websocket !~e
~bq id & ~bs id
~hq host & ~hs location
~replay | ~marked | ~comment first
~http & !~websocket
~all & ~s
!~all
~tcp | ~udp | ~dns
~src 127 ~dst example
"""

DIALECT = r"""
~u [[:alpha:]]
~u [a-z&&[aeiou]]
~u [~~]
~u [x--]
~u [%--]
~u []a]
~u [^]a]
~u [a-]
~u [\w-]+\.com
~u [\d.]+:
~u [\W]{3}
~u [^\W\d]{7}
~u \/
~u \<
~b \<html\>
~b '\\<title\\>'
~b {
~b }
~b ]
~b {}
~b l{2}
~b l{,2}o
~b l{2,}o
~b {,}
~b l{,}o
~b l{1
~b l{a}
~b ^{"id
~b 'Hello {name}'
~b '\\{id\\}'
~b (?i)HELLO
~b '(?i)HELLO'
~b '(?-i:HELLO)'
~b '(?-i:Hello)'
~b '(?s)hello.*html'
~b '(?-s:hello.*html)'
~b '(?m)^second$'
~b '(?m)^second\r$'
~b '(?m:^hello)'
~b '(?x) h e l l o # a comment'
~b '(?x: h e l )lo'
~b '(?#comment)hello'
~b '(?P<word>hello) [a-z]+'
~b '(?P<w>l)(?P<w>l)'
~b '(?<w>l)'
~b '(?a)caf.'
~b '(?u)caf.'
~u '(?u)caf.'
~u '(?a)caf\\w'
~u '(?a:caf)\\w'
~u '(?L)a'
~u 'a(?i)b'
~u 'caf\\w\\?'
~u 'caf\\u00e9'
~u '\\U00006f22'
~u '\\xe9'
~b '\\u00e9'
~b '\\xc3\\xa9'
~b '[\\xc3][\\xa9]'
~b '[é]'
~b 'é+'
~b 'É'
~u 'É'
~b '\\303\\251'
~b '\\0'
~b '\\08'
~b '[\\0-\\10]'
~b '\\400'
~b '[\\400]'
~b '\\a'
~b '[\\b]'
~b '\\v\\f'
~b '\\Ahello'
~b 'client\\Z'
~b 'html>\\Z'
~b 'html>\\n\\Z'
~b 'html>$'
~b 'first$'
~b 'x\\n$'
~b '\\bok\\b'
~b '\\Bello\\b'
~b 'ell\\B'
~b 'hel+?o'
~b 'h??ello'
~b 'l*?o'
~b 'l{1,2}?o'
~b '(l|x)+o'
~b '(?:l|x)*o'
~b '()'
~b '(|l)o'
~b '|'
~b 'x|'
~b '(?:)'
~b '^*'
~b '*'
~b '+l'
~b '(*l)'
~b 'l|*'
~b 'l**'
~b 'l{2}{3}'
~b 'l+?+'
~b 'l{3,2}'
~b 'l{99999999999}'
~b '['
~b '[a'
~b '[z-a]'
~b '[\\w-a]'
~b '[a-\\w]'
~b '[a-\\]'
~b '('
~b ')'
~b '(l'
~b 'l)'
~b '(?'
~b '(?y)'
~b '(?P'
~b '(?P<'
~b '(?P<1>l)'
~b '(?Pw)'
~b '(?#l'
~b '\\'
~b '\\q'
~b '\\y'
~b '\\_'
~b '\\x4'
~b '\\u12'
~u '\\u12'
~u '\\N{DASH}'
~b '[\\A]'
~b '\\pL'
~b '\\Qa'
~b '\\h'
~b (l)
"""

# What flowtap refuses, for want of an engine that can.
UNAVAILABLE = r"""
~u '^(?!.*login)'
~u 'example(?=\\.com)'
~u '(?<=www\\.)example'
~u '(?<!www\\.)example'
~b '(l)\\1'
~b '(?P<w>l)(?P=w)'
~b '(h)?(?(1)e|l)'
~b '(?>l+)o'
~b 'l++o'
~b 'l*+o'
~b 'l{1,2}+o'
~u '\\N{EM DASH}'
~u '\\ud800'
"""

# What pyparsing, which mitmproxy reads quotes with, takes for the numbers of characters.
NUMBERS = r"""
"e\x72"
"e\0"
"""

REFUSED = r"""
example &
example |
(example & )
!
! !
!!
(example & !)
& &
()
( )
example ()
(example
example )
~
~ q
~ALL
~foo
~htp
~marker
~u
~c
~c x
~c -1
~u ~q
~u )
~u (example)
~b {"id
'unterminated
"unterminated
"unterminated\"
it's
~m(GET)
~q )
"""

# What mitmproxy refuses for want of a blank, or inside of parentheses, and flowtap does not.
LIBERTIES = r"""
(~q)
(~q|~s)
~q&~s
~q|~s
~q~s
!(~q)
~u"example"
~u'example'
~u/index
~c200
(~s ~c 200)
(example index)
(~s !~e | ~q) example
"""


def lines(text):
    return [line for line in text.split("\n") if line]


def all_of_them():
    for name in UNARY:
        yield f"~{name}"
        yield f"!~{name}"
    for name, patterns in PATTERNS.items():
        for pattern in split(patterns):
            yield f"~{name} {pattern}"
    for status in STATUSES:
        yield f"~c {status}"
    for part in [COMBINED, DIALECT, UNAVAILABLE, NUMBERS, REFUSED, LIBERTIES]:
        yield from lines(part)


def split(patterns):
    """Words, or texts in single quotes."""
    word, quoted = "", False
    for letter in patterns + " ":
        if letter.isspace() and not quoted:
            if word:
                yield word
            word = ""
        else:
            quoted ^= letter == "'"
            word += letter
