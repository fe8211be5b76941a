# Usage: with_run.rb ORIGIN
#
# Asks by Net::HTTP, which knows of the proxy and the certificate authority by its environment.

require 'net/http'

answer = Net::HTTP.get_response(URI("#{ARGV.fetch(0)}/text"))
abort "status #{answer.code}" unless answer.body == "a text\n"
