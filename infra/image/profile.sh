# /etc/profile sets PATH anew in login shells, which some start Ray in
PATH=/opt/lakescore/bin:$PATH
